import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { VIRTUAL_ENVIRONMENT } from './variants.ts';

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}

/** Builds the product and installs what it is compared with. */
export function prepare({ withDjango }: { withDjango: boolean }) {
  if (!existsSync(file('node_modules')) && !succeeds('npm', 'ci', '--prefix', 'bench')) {
    process.exit(1);
  }
  if (!succeeds('npm', 'run', 'build')) process.exit(1);
  if (withDjango) {
    // A machine without Python does without this variant; the table then says that it was not run.
    existsSync(VIRTUAL_ENVIRONMENT) || succeeds('python3', '-m', 'venv', VIRTUAL_ENVIRONMENT);
    const requirements = file('variants/django/requirements.txt');
    succeeds(`${VIRTUAL_ENVIRONMENT}/bin/pip`, 'install', '--quiet', '--requirement', requirements);
  }
}
