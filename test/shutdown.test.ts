import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains the requests, flushes Sentry and exits 0`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
    const slow = app.get('/my-view?seconds=1');
    await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));
    await app.get('/trigger-error/');

    assert.equal(await app.stop(signal), 0);
    assert.equal((await slow).status, 200, 'the request in flight was answered');
    assert.equal(sink.items('event').length, 1, 'the event arrived');
    assert.ok(
      sink.items('transaction').some(({ transaction }) => transaction === 'GET /my-view'),
      'the trace of the drained request arrived',
    );
  });
}

test('a tracker that refuses connections delays neither pages nor the stop', async (t) => {
  // Port 9 (discard) has no listener.
  const app = await spawnApp(t, { SENTRY_DSN: 'http://0123456789abcdef@127.0.0.1:9/1' });
  assert.equal((await app.get('/trigger-error/')).status, 500);
  assert.equal((await app.get('/my-view')).status, 200);
  assert.equal(await app.stop(), 0);
});
