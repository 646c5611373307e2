/** The committed rules and routes with short durations, to be mounted into a stack of a test's own. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

/** Makes a folder that the services can read, and that is removed after the tests of the file. */
export function temporaryFolder(): string {
  // The services' users are not ours.
  process.umask(0o022);
  const folder = mkdtempSync(join(tmpdir(), 'stack-'));
  after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Writes the rules into `rules/` of the folder: windows of 20 seconds, and waits of 5. */
export function writeShortRules(folder: string): void {
  mkdirSync(join(folder, 'rules'));
  for (const name of readdirSync('prometheus/rules')) {
    const rules = readFileSync(join('prometheus/rules', name), 'utf8');
    writeFileSync(
      join(folder, 'rules', name),
      rules
        .replace(/\[\d+[smhdw]\]/g, '[20s]')
        .replace(/^( +(?:for|keep_firing_for):).*/gm, '$1 5s'),
    );
  }
}

/** Writes `alertmanager.yml` into the folder, which mails within seconds. */
export function writeShortRoutes(folder: string): void {
  const routes = readFileSync('alertmanager.yml', 'utf8');
  writeFileSync(
    join(folder, 'alertmanager.yml'),
    routes
      .replace(/group_wait:.*/, 'group_wait: 1s')
      .replace(/group_interval:.*/, 'group_interval: 5s'),
  );
}
