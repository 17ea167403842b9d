/** The configuration that a command was given. */
import { type LoadedConfig, loadConfig } from '../train/configFile.ts';
import { type Call, warn } from './command.ts';

/** Reads the configuration. Its warnings are about training, so they are told only where much is told. Throws `CONFIG`. */
export async function readConfig(call: Call): Promise<LoadedConfig> {
  const loaded = await loadConfig(call.config);
  for (const warning of call.verbose ? loaded.warnings : []) warn(call, warning);
  return loaded;
}
