import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';

const hasJaeger = (process.env.PATH ?? '')
  .split(delimiter)
  .some((folder) => existsSync(join(folder, 'jaeger')));

test('npm run demo shows the error and its trace in the terminal, and Ctrl-C ends it', async (t) => {
  const port = await freePort();
  const jaegerPort = await freePort();
  const demo = spawn(process.execPath, ['--import', 'tsx', 'scripts/demo.ts'], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: port,
      METRICS_PORT: await freePort(),
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

  const trace = `http://localhost:${jaegerPort}/trace/${response.headers.get('x-trace-id')}`;
  assert.equal((await response.text()).includes(trace), hasJaeger);
  if (hasJaeger) {
    await eventually(async () => {
      assert.equal((await fetch(trace.replace('/trace/', '/api/traces/'))).status, 200);
    });
  }

  const exit = once(demo, 'exit');
  demo.kill('SIGINT');
  const [code] = await exit;
  assert.equal(code, 0);
  await assert.rejects(fetch(`http://localhost:${port}/`), 'the application ended with it');
});
