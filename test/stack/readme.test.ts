/** Runs every command of the README for the stack as it is written, on a stack of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../helpers/eventually.ts';
import { readReadme } from '../helpers/readme.ts';
import { portSettings } from './helpers/compose.ts';
import { triggerError } from './helpers/services.ts';

const environment: Record<string, string> = {
  COMPOSE_PROJECT_NAME: 'monitoring-test-readme',
  ...(await portSettings()),
};
const DEFAULT_PORTS: Record<string, string> = { APP_PORT: '8000', APP_METRICS_PORT: '9464' };

/** Runs a command in a shell as a reader would, and resolves to what it printed. */
async function run(command: string): Promise<string> {
  const { stdout } = await promisify(execFile)('sh', ['-c', command], {
    env: { ...process.env, BUILDKIT_PROGRESS: 'quiet', ...environment },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

const commands = [...new Set(readReadme('README.md').commands)].filter(
  (command) => !command.includes('npm'),
);
const DOWN = 'docker compose down';
assert.equal(commands[0], 'docker compose up -d --build --wait', 'the stack starts first');
assert.ok(commands.includes(DOWN));

await run(`${DOWN} --volumes`);
after(() => run(`${DOWN} --volumes`));

/** What is true after a command, besides its success. */
const outcomes: [command: RegExp, outcome: () => Promise<void>][] = [
  [
    /^docker compose up -d --scale traffic=1$/,
    async () => assert.match(await run('docker compose logs traffic'), /200: \d+/),
  ],
  [
    /^TRAFFIC_ERRORS=0\.5/,
    async () => assert.match(await run('docker compose logs traffic'), /50% of them errors/),
  ],
  [
    /^docker compose stop traffic$/,
    async () => assert.doesNotMatch(await run('docker compose ps'), /traffic/),
  ],
];

for (const written of commands.filter((command) => command !== DOWN)) {
  test(written, async () => {
    let command = written.replaceAll('<service>', 'bugsink');
    if (command.includes('<trace id>')) {
      const { traceId } = await triggerError(`http://localhost:${environment.APP_PORT}`);
      command = command.replaceAll('<trace id>', traceId);
    }
    for (const [name, port] of Object.entries(DEFAULT_PORTS)) {
      command = command.replaceAll(`localhost:${port}`, `localhost:${environment[name]}`);
    }
    // A log line takes a moment, and "grep" fails where it finds nothing.
    await eventually(() => run(command), command.includes('| grep') ? 10 : 0);
    for (const [pattern, outcome] of outcomes) {
      if (pattern.test(written)) await eventually(outcome, 30);
    }
  });
}

test(`${DOWN} leaves the data only, and with --volumes nothing`, async () => {
  const filter = `--quiet --filter label=com.docker.compose.project=${environment.COMPOSE_PROJECT_NAME}`;
  await run('docker compose up -d --scale traffic=1');
  await run(DOWN);
  assert.equal(await run(`docker ps --all ${filter}`), '');
  assert.equal(await run(`docker network ls ${filter}`), '');
  assert.match(await run(`docker volume ls ${filter}`), /bugsink/);
  await run(commands[0] ?? '');
  await run(`${DOWN} --volumes`);
  assert.equal(await run(`docker volume ls ${filter}`), '');
});
