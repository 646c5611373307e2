/** The first command of the README without Docker. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';

const PORTS = [
  ...['PORT', 'METRICS_PORT', 'SENTRY_LOCAL_PORT', 'PROMETHEUS_PORT'],
  ...['ALERTMANAGER_PORT', 'JAEGER_PORT', 'OTLP_PORT', 'JAEGER_HEALTH_PORT'],
];

test('the demo prints the error and its trace, needs no network, and stops with npm', async (t) => {
  // A new home: the CLI looks for updates if it has not done so for a day.
  const home = mkdtempSync(join(tmpdir(), 'demo-home-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const lookups = join(home, 'lookups');
  const ports: Record<string, string> = {};
  for (const name of PORTS) ports[name] = await freePort();
  const url = `http://localhost:${ports.PORT}`;

  const npm = spawn('npm', ['run', 'demo'], {
    env: {
      PATH: process.env.PATH,
      HOME: home,
      // npm, too, looks for updates of itself.
      npm_config_update_notifier: 'false',
      ...ports,
      LOOKUPS: lookups,
      NODE_OPTIONS: `--import=${pathToFileURL('test/fixtures/record-lookups.js')}`,
    },
  });
  t.after(() => npm.kill('SIGTERM'));
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }

  await eventually(() => assert.match(output, /Ctrl-C stops everything/), 60);
  assert.ok(output.includes(`${url}/ `), output);
  const response = await fetch(`${url}/trigger-error/`);
  assert.equal(response.status, 500);
  await eventually(() => {
    assert.match(output, /\[ERROR\].*RangeError: Division by zero.*trigger-error\.ts/);
    assert.match(output, /\[TRACE\].*GET \/trigger-error\/ \[500\]/);
  });
  const guide = await (await fetch(url)).text();
  assert.match(guide, /<code>development<\/code>.*<code>fastify-sentry-prometheus@\d/s);
  assert.doesNotMatch(output, /incoming request/, 'the log does not bury it');

  const exit = once(npm, 'exit');
  npm.kill('SIGTERM');
  await exit;
  await eventually(() => assert.rejects(fetch(url)), 30);
  const hosts = new Set(readFileSync(lookups, 'utf8').trim().split('\n'));
  for (const own of ['localhost', '127.0.0.1']) hosts.delete(own);
  assert.deepEqual([...hosts], []);
});
