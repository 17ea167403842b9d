/**
 * `npm run test:oracle [-- FILE…]`: compares with PyTorch, transformers, PEFT, TRL and bitsandbytes.
 *
 * Their Python environment is made once, outside the repository, in the user's cache folder (several GB).
 * `WEBGPU_SFT_ORACLE_PYTHON=<python>` names one that has these packages instead.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { oracleEnvironment, readJson, run, SetupError, say, script, writeWhole } from './common.mjs';
import { setup } from './setup.mjs';
import { prepareTokenizers } from './tokenizers.mjs';
import { report, runVitest } from './vitest.mjs';

const PACKAGES = [
  'torch',
  'transformers',
  'peft',
  'trl',
  'bitsandbytes',
  'safetensors',
  'rouge-score',
  'sacrebleu',
  'tensorboard',
  'gguf',
];

/** The Python to use; makes the environment where there is none. */
function oraclePython() {
  const given = process.env.WEBGPU_SFT_ORACLE_PYTHON;
  if (given) {
    if (spawnSync(given, ['-c', 'import torch, transformers, peft']).status === 0) return given;
    throw new SetupError(
      `WEBGPU_SFT_ORACLE_PYTHON: ${given} has no torch, transformers and peft`,
      `${given} -m pip install ${PACKAGES.join(' ')}`,
    );
  }
  const { folder, python } = oracleEnvironment();
  const stamp = join(folder, 'packages.json');
  if (existsSync(python) && JSON.stringify(readJson(stamp)) === JSON.stringify(PACKAGES)) return python;

  const base = ['python3', 'python'].find((name) => spawnSync(name, ['-c', 'import venv, ensurepip']).status === 0);
  if (!base)
    throw new SetupError(
      'found no Python 3 with venv',
      'install Python 3.10 or newer (Debian, Ubuntu: apt-get install python3-venv)',
    );
  say(`making a Python environment in ${folder} (several GB, once)`);
  rmSync(folder, { recursive: true, force: true });
  run(base, ['-m', 'venv', folder], 'install Python 3.10 or newer (Debian, Ubuntu: apt-get install python3-venv)');
  run(
    python,
    ['-m', 'pip', 'install', '--quiet', ...PACKAGES],
    'check the connection to the Python registry, then run this again',
  );
  writeWhole(stamp, JSON.stringify(PACKAGES));
  return python;
}

async function oracle() {
  setup();
  prepareTokenizers();
  const python = oraclePython();
  say(`Python for the oracle: ${python}`);
  report(
    await runVitest(['--project=oracle', ...process.argv.slice(2)], {
      ...process.env,
      WEBGPU_SFT_ORACLE_PYTHON: python,
    }),
  );
}

if (!(await script(oracle))) report({ passed: 0, failed: 1, skipped: 0 });
