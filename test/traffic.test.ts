import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const spawnTraffic = (args: string[], environment: Record<string, string> = {}) =>
  spawn(process.execPath, ['--import', 'tsx', 'scripts/traffic.ts', ...args], {
    env: { PATH: process.env.PATH, ...environment },
  });

test('the traffic visits every kind of page, with the share of errors that was set', async (t) => {
  const app = await spawnApp(t);
  // Docker sets variables, and npm arguments.
  const environment = { TRAFFIC_URL: app.url, TRAFFIC_RATE: '200', TRAFFIC_ERRORS: '0' };
  const traffic = spawnTraffic(['--errors=0.5'], environment);
  t.after(() => traffic.kill('SIGKILL'));
  const output = text(traffic.stdout);

  const count = async (endpoint: string) =>
    (await app.metric(`django_http_requests_total{method="GET",endpoint="${endpoint}"}`)) ?? 0;
  await eventually(async () => {
    for (const endpoint of ['/', '/my-view', 'unmatched']) assert.ok((await count(endpoint)) > 0);
    assert.ok((await count('/trigger-error/')) > 100);
  }, 30);

  traffic.kill('SIGINT');
  assert.deepEqual(await once(traffic, 'close'), [0, null]);
  assert.match(await output, /50% of them errors.*200: \d+ {2}404: \d+ {2}500: \d+/s);
});

test('an invalid setting of the traffic is rejected by name', async () => {
  const traffic = spawnTraffic([], { TRAFFIC_ERRORS: '50' });
  const [output, [code]] = await Promise.all([text(traffic.stderr), once(traffic, 'close')]);
  assert.equal(code, 1);
  assert.equal(output.trim(), 'errors is "50", but must be a number up to 1.');
});
