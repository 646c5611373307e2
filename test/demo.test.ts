import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';

const hasJaeger = (process.env.PATH ?? '')
  .split(delimiter)
  .some((folder) => existsSync(join(folder, 'jaeger')));

test('npm run demo shows the error and its trace in the terminal, asks nobody else for anything, and Ctrl-C ends it', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'demo-home-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const lookups = join(home, 'lookups');
  const port = await freePort();
  const jaegerPort = await freePort();
  const metricsPort = await freePort();
  const demo = spawn(process.execPath, ['--import', 'tsx', 'scripts/demo.ts'], {
    env: {
      PATH: process.env.PATH,
      // A new one: the program asks for updates when it has not done so for a day.
      HOME: home,
      LOOKUPS: lookups,
      NODE_OPTIONS: `--import=${pathToFileURL('test/fixtures/record-lookups.js')}`,
      PORT: port,
      METRICS_PORT: metricsPort,
      SENTRY_LOCAL_PORT: await freePort(),
      PROMETHEUS_PORT: await freePort(),
      ALERTMANAGER_PORT: await freePort(),
      JAEGER_PORT: jaegerPort,
      OTLP_PORT: await freePort(),
      JAEGER_HEALTH_PORT: await freePort(),
    },
  });
  t.after(() => demo.kill('SIGTERM'));
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }

  await eventually(() => assert.match(output, /Ctrl-C ends all of it/), 60);
  assert.match(output, new RegExp(`The guide +http://localhost:${port}/`));
  const response = await fetch(`http://localhost:${port}/trigger-error/`);
  assert.equal(response.status, 500);
  await eventually(() => {
    assert.match(output, /\[ERROR\].*RangeError: Division by zero.*trigger-error\.ts/);
    assert.match(output, /\[TRACE\].*GET \/trigger-error\/ \[500\]/);
  });

  const metrics = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text();
  assert.match(metrics, /sentry_info\{.*release="fastify-sentry-prometheus@\d/);

  const trace = `http://localhost:${jaegerPort}/trace/${response.headers.get('x-trace-id')}`;
  assert.equal((await response.text()).includes(trace), hasJaeger);
  if (hasJaeger) {
    await eventually(async () => {
      assert.equal((await fetch(trace.replace('/trace/', '/api/traces/'))).status, 200);
    });
  }

  assert.doesNotMatch(output, /incoming request/, 'the log does not drown what happened');

  const exit = once(demo, 'exit');
  demo.kill('SIGINT');
  const [code] = await exit;
  assert.equal(code, 0);
  await assert.rejects(fetch(`http://localhost:${port}/`), 'the application ended with it');
  const hosts = new Set(readFileSync(lookups, 'utf8').trim().split('\n'));
  for (const own of ['localhost', '127.0.0.1']) hosts.delete(own);
  assert.deepEqual([...hosts], [], 'it works without a network');
});

test('npm run demo ends when npm is told to', async (t) => {
  const port = await freePort();
  // It is built already: without "predemo".
  const npm = spawn('npm', ['run', 'demo', '--ignore-scripts'], {
    env: {
      ...process.env,
      PORT: port,
      METRICS_PORT: await freePort(),
      SENTRY_LOCAL_PORT: await freePort(),
      PROMETHEUS_PORT: await freePort(),
      ALERTMANAGER_PORT: await freePort(),
      JAEGER_PORT: await freePort(),
      OTLP_PORT: await freePort(),
      JAEGER_HEALTH_PORT: await freePort(),
    },
    stdio: 'ignore',
  });
  t.after(() => npm.kill('SIGKILL'));
  await eventually(async () => assert.ok((await fetch(`http://localhost:${port}/readyz`)).ok), 60);
  npm.kill('SIGTERM');
  await eventually(() => assert.rejects(fetch(`http://localhost:${port}/readyz`)), 30);
});
