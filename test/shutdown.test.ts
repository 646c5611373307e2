/** SIGTERM, SIGINT and crashes: what is answered, what is reported, how the process exits. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { SHUTDOWN_SECONDS } from '../src/http/shutdown.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { eventIds, type Visit, visit } from './helpers/keep-alive-visit.ts';
import { open } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const GAUGE = 'django_active_users';

test('a shutdown under load drops no request and no event, and exits with 0', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const slow = app.get('/my-view?seconds=2');
  await eventually(async () => assert.equal(await app.metric(GAUGE), 1));
  const visits: Visit[] = [];
  const clients = Array.from({ length: 20 }, async (_, n) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = n; ; i++) {
      const answer = await visit(
        app.url + (i % 3 ? '/my-view?seconds=0' : '/trigger-error/'),
        agent,
      );
      visits.push(answer);
      if (answer.closed || answer.error) return;
    }
  });
  await sleep(500);
  assert.equal(await app.stop('SIGTERM'), 0);
  await Promise.all(clients);

  assert.equal((await slow).status, 200, 'what was in flight is answered');
  assert.deepEqual([...new Set(visits.map(({ status }) => status))].sort(), [200, 500]);
  const reported = sink.items('event').map(({ event_id }) => event_id);
  assert.deepEqual(reported.sort(), eventIds(visits).sort());
  const transactions = sink.items('transaction').map(({ transaction }) => transaction);
  assert.ok(transactions.includes('GET /my-view'), 'the trace of what was in flight arrives');
});

test('while it shuts down, it is alive but not ready', async (t) => {
  const app = await spawnApp(t);
  const statuses = () =>
    Promise.all(['/readyz', '/healthz'].map(async (path) => (await app.get(path)).status));
  assert.deepEqual(await statuses(), [200, 200]);
  const exit = once(app.child, 'exit');
  app.child.kill('SIGINT');
  await eventually(async () => assert.deepEqual(await statuses(), [503, 200]));
  assert.deepEqual(await exit, [0, null]);
});

test('connections that send nothing, or half a request, do not prevent the shutdown', async (t) => {
  const app = await spawnApp(t);
  for (const [url, text] of [
    [app.url, ''],
    [app.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n'],
    [app.metricsUrl, ''],
    [app.metricsUrl, 'GET /met'],
  ] as const) {
    const { socket } = open(url);
    t.after(() => socket.destroy());
    socket.write(text);
  }
  // These responses show that the connections before them were accepted.
  await Promise.all([app.get('/healthz'), app.metric(GAUGE)]);
  assert.equal(await app.stop(), 0);
});

test('a second signal ends it at once', async (t) => {
  const app = await spawnApp(t);
  const slow = visit(`${app.url}/my-view?seconds=10`, new Agent());
  await eventually(async () => assert.equal(await app.metric(GAUGE), 1));
  const exit = once(app.child, 'exit');
  app.child.kill('SIGTERM');
  await eventually(() => assert.ok(app.log.some(({ msg }) => msg.startsWith('SIGTERM received'))));
  app.child.kill('SIGTERM');
  assert.deepEqual(await exit, [1, null]);
  assert.equal((await slow).status, 0, 'without an answer');
});

for (const kind of ['exception', 'rejection']) {
  test(`an unhandled ${kind} is logged and reported, and exits with 1`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, 'test/fixtures/crashing-server.js');
    const end = once(app.child, 'close');
    assert.equal((await app.get(`/crash/${kind}`)).status, 200);
    assert.deepEqual(await end, [1, null]);
    assert.ok(
      app.log.some(({ level, err }) => level === 60 && /a crash/.test(JSON.stringify(err))),
    );
    const [event, ...others] = sink.items('event');
    assert.equal(event.exception.values[0].value, 'a crash');
    assert.deepEqual(others, []);
  });
}

test('the container engine waits longer than a shutdown takes', () => {
  const { services } = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true });
  const { drain, requests, flush } = SHUTDOWN_SECONDS;
  assert.ok(Number.parseInt(services.app.stop_grace_period, 10) > drain + requests + 2 * flush + 1);
});
