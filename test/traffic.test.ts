import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

function spawnTraffic(environment: Record<string, string>) {
  const traffic = spawn(process.execPath, ['--import', 'tsx', 'scripts/traffic.ts'], {
    env: { PATH: process.env.PATH, ...environment },
  });
  const output = { text: '' };
  for (const stream of [traffic.stdout, traffic.stderr]) {
    stream.on('data', (chunk) => {
      output.text += chunk;
    });
  }
  return { traffic, output };
}

test('the traffic reaches every kind of page, with the share of errors that was set', async (t) => {
  const app = await spawnApp(t, { ERRORS_PER_SECOND: '1000' });
  const { traffic, output } = spawnTraffic({
    TRAFFIC_URL: app.url,
    TRAFFIC_RATE: '200',
    TRAFFIC_ERRORS: '0.5',
  });
  t.after(() => traffic.kill('SIGKILL'));

  const count = (endpoint: string) =>
    app.metric(`django_http_requests_total{method="GET",endpoint="${endpoint}"}`);
  await eventually(async () => {
    for (const endpoint of ['/', '/my-view', 'unmatched']) {
      assert.ok(((await count(endpoint)) ?? 0) > 0, `${endpoint} was not visited`);
    }
    assert.ok(((await count('/trigger-error/')) ?? 0) > 100, 'errors');
  }, 30);

  const exit = once(traffic, 'exit');
  traffic.kill('SIGINT');
  assert.deepEqual(await exit, [0, null]);
  assert.match(output.text, /200: \d+ {2}404: \d+ {2}500: \d+/, 'it reports what it did');
});

test('a bad setting of the traffic is refused by name', async () => {
  const { traffic, output } = spawnTraffic({ TRAFFIC_ERRORS: '50' });
  const [code] = await once(traffic, 'close');
  assert.equal(code, 1);
  assert.equal(output.text.trim(), 'TRAFFIC_ERRORS is "50", but takes a number up to 1.');
});

test('the traffic says its share of errors as it was set', async (t) => {
  const { traffic, output } = spawnTraffic({ TRAFFIC_ERRORS: '0.07', TRAFFIC_RATE: '0.001' });
  t.after(() => traffic.kill('SIGKILL'));
  await eventually(() => assert.match(output.text, /, 7 % of them errors\./), 30);
});
