/** Runs the README's commands for the stack as they are written, on a stack of its own. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../helpers/eventually.ts';
import { readReadme } from '../helpers/readme.ts';
import { portSettings } from './helpers/compose.ts';

const { commands } = readReadme('README.md');
const environment: Record<string, string> = {
  COMPOSE_PROJECT_NAME: 'monitoring-test-readme',
  ...(await portSettings()),
};

/** Runs a command in a shell as a reader would, and resolves to what it printed. */
async function run(command: string, cwd = '.'): Promise<string> {
  console.log(command);
  const { stdout } = await promisify(execFile)('sh', ['-c', command], {
    cwd,
    env: { ...process.env, BUILDKIT_PROGRESS: 'quiet', ...environment },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}

/** The README's command, which it has to have. */
function command(start: string): string {
  const found = commands.find((command) => command.startsWith(start));
  assert.ok(found, `the README has a command that begins with "${start}"`);
  return found;
}

const UP = command('docker compose up');
const DOWN = command('docker compose down');
const TRAFFIC = command('docker compose up -d --scale');
const ERRORS = command('TRAFFIC_ERRORS=');
const STOP_TRAFFIC = command('docker compose stop traffic');
const STATUS = command('docker compose ps');
const LOG = command('docker compose logs app | grep');
const SERVICE_LOG = command('docker compose logs <service>');
const WHOLE_LOG = 'docker compose logs app';
const LOGIN_LOG = 'docker compose logs bugsink-project';
const METRICS = command('curl ');
const CHMOD = command('chmod ');

await run(`${DOWN} --volumes`);
after(() => run(`${DOWN} --volumes`));

test('no command for the stack is left out here', () => {
  const known = [UP, DOWN, TRAFFIC, ERRORS, STOP_TRAFFIC, STATUS, LOG, SERVICE_LOG, WHOLE_LOG];
  known.push(METRICS, CHMOD, LOGIN_LOG);
  for (const command of commands) {
    assert.ok(command.includes('npm') || known.includes(command), command);
  }
});

test('the stack starts, and its status and logs can be read', async () => {
  await run(UP);
  assert.match(await run(STATUS), /app.*\(healthy\)/);
  assert.match(await run(SERVICE_LOG.replace('<service>', 'bugsink')), /\w/);
  assert.match(await run(WHOLE_LOG), /Sentry is on/);
  assert.match(await run(LOGIN_LOG), /is ready/);
});

test('a request is found by its trace id in the log and in the metrics', async () => {
  const response = await fetch(`http://localhost:${environment.APP_PORT}/trigger-error/`);
  const traceId = response.headers.get('x-trace-id') ?? '';
  await eventually(async () => {
    assert.match(await run(LOG.replace('<trace id>', traceId)), /request failed/);
    const metrics = METRICS.replace('<trace id>', traceId).replace(
      ':9464',
      `:${environment.APP_METRICS_PORT}`,
    );
    assert.match(await run(metrics), /^http_request_duration_seconds_bucket/);
  });
});

test('traffic comes, half of it as errors, and goes', async () => {
  await run(TRAFFIC);
  const traffic = () => run('docker compose logs --no-log-prefix traffic');
  await eventually(async () => assert.match(await traffic(), /200: \d+/), 30);
  await run(ERRORS);
  await eventually(async () => assert.match(await traffic(), /50 % of them errors/), 30);
  await run(STOP_TRAFFIC);
  const running = await run("docker compose ps --format '{{.Service}}'");
  assert.doesNotMatch(running, /traffic/);
});

test('traffic comes again after it was stopped, and the stack with it', async () => {
  await run(DOWN);
  await run(UP);
  await run(TRAFFIC);
  await eventually(async () => {
    assert.match(await run('docker compose logs --no-log-prefix traffic'), /200: \d+/);
  }, 30);
});

test('what stops the stack stops the traffic, and leaves no container or network', async () => {
  await run(DOWN);
  const label = `label=com.docker.compose.project=${environment.COMPOSE_PROJECT_NAME}`;
  assert.equal(await run(`docker ps --all --quiet --filter ${label}`), '');
  assert.equal(await run(`docker network ls --quiet --filter ${label}`), '');
});

test('files that nobody else could read can be read after the command for it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'readme-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, '');
  chmodSync(file, 0o600);
  await run(CHMOD, folder);
  assert.equal(statSync(file).mode & 0o777, 0o644);
});
