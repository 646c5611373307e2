import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { eventIds, statuses, type Visit, visit } from '../helpers/load.ts';
import { open, statusesOf } from '../helpers/raw.ts';
import { spawnApp } from '../helpers/spawn-app.ts';
import { faults, startTracker } from '../helpers/tracker.ts';

const CONNECTIONS = 50;

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} under load: every request is answered, every event arrives, exit 0`, async (t) => {
    const tracker = await startTracker(t);
    const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, ERRORS_PER_SECOND: '1000000' });
    const paths = ['/my-view?seconds=0', '/trigger-error/', '/', '/my-view?seconds=0.3'];

    const visits: Visit[] = [];
    const connections = Array.from({ length: CONNECTIONS }, async (_, n) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let i = n; i < 10_000; i++) {
        const answer = await visit(app.url + paths[i % paths.length], agent);
        visits.push(answer);
        if (answer.closed || answer.status === 0) return answer;
      }
      return undefined;
    });
    await sleep(2_000);
    assert.equal(await app.stop(signal), 0);
    const last = await Promise.all(connections);

    const answered = visits.filter(({ status }) => status !== 0);
    assert.deepEqual(statuses(answered), ['200', '500'], 'the answers are as before');
    const received = app.log.filter(({ msg }) => msg === 'incoming request');
    assert.equal(received.length, answered.length, 'every request that was received is answered');
    // A client that is not scheduled for a second may still meet a closed connection.
    const toldToClose = last.filter((answer) => answer?.closed).length;
    assert.ok(toldToClose >= 0.9 * CONNECTIONS, `${toldToClose} were told to close`);
    const captured = eventIds(visits);
    assert.ok(captured.length > 0, 'there were errors');
    assert.deepEqual([...tracker.delivered.events].sort(), captured.sort(), 'every event arrives');
    t.diagnostic(
      `${answered.length} requests on ${CONNECTIONS} connections, ${toldToClose} told to close; ` +
        `${captured.length} events`,
    );
  });
}

test('connections that say nothing, or half a request, do not hold up the stop', async (t) => {
  const app = await spawnApp(t);
  const beginnings: [string, string][] = [
    [app.url, ''],
    [app.url, 'GET / HTTP/1.1\r\nHost: localhost\r\n'],
    [app.metricsUrl, ''],
    [app.metricsUrl, 'GET /met'],
  ];
  const sockets = beginnings.map(([url, text]) => {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname).on('error', () => {});
    socket.write(text);
    t.after(() => socket.destroy());
    return once(socket, 'close');
  });
  // Any answer says that the connections before it were accepted.
  await app.get('/healthz');
  await app.metric('django_active_users');
  assert.equal(await app.stop(), 0);
  await Promise.all(sockets);
  assert.ok(!app.log.some(({ msg }) => msg.startsWith('hanging up')), 'nothing was waited for');
});

test('an error just before the stop arrives, also at a tracker that takes its time', async (t) => {
  const tracker = await startTracker(t, 2_000);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  const [id] = eventIds([await visit(`${app.url}/trigger-error/`, new Agent())]);
  assert.equal(await app.stop(), 0);
  assert.deepEqual([...tracker.delivered.events], [id]);
});

test('a request that takes too long is cut, and the process still ends with its events sent', async (t) => {
  const tracker = await startTracker(t);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  const [id] = eventIds([await visit(`${app.url}/trigger-error/`, new Agent())]);
  const slow = visit(`${app.url}/my-view?seconds=10`, new Agent());
  await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));
  assert.equal(await app.stop(), 0);
  assert.equal((await slow).status, 0);
  assert.ok(tracker.delivered.events.has(String(id)));
});

test('while it stops it is not ready, and still answers', async (t) => {
  const app = await spawnApp(t);
  assert.equal((await app.get('/readyz')).status, 200);
  // Requests that have begun, and one that lasts, keep their connections open past the signal.
  const begun = ['/readyz', '/healthz'].map((path) => {
    const { socket, answer } = open(app.url);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n`);
    return { socket, answer };
  });
  const lasting = visit(`${app.url}/my-view?seconds=4`, new Agent());
  await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));
  const exit = once(app.child, 'exit');
  app.child.kill('SIGTERM');
  await eventually(() =>
    assert.ok(
      app.log.some(({ msg }) => msg === 'stopping'),
      'it stops',
    ),
  );
  for (const { socket } of begun) socket.write('\r\n');
  const answers = await Promise.all(begun.map(({ answer }) => answer));
  assert.deepEqual(answers.flatMap(statusesOf), [503, 200]);
  assert.equal((await lasting).status, 200);
  assert.deepEqual(await exit, [0, null]);
});

test('a second signal ends it at once', async (t) => {
  const app = await spawnApp(t);
  const slow = visit(`${app.url}/my-view?seconds=10`, new Agent());
  await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));
  const exit = once(app.child, 'exit');
  app.child.kill('SIGTERM');
  await eventually(() =>
    assert.ok(
      app.log.some(({ msg }) => msg === 'stopping'),
      'it stops',
    ),
  );
  app.child.kill('SIGTERM');
  const first = await Promise.race([exit, slow]);
  assert.deepEqual(await exit, [1, null]);
  assert.ok(Array.isArray(first) || first.status === 0, 'the slow request is not waited for');
  assert.ok(!app.log.some(({ msg }) => msg.startsWith('hanging up')));
});

test('what the stop could not deliver is in the log, to the last event', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.never);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, ERRORS_PER_SECOND: '1000' });
  for (let i = 0; i < 40; i++) await app.get('/trigger-error/');
  assert.equal(await app.stop(), 0);
  const { lost } = app.log.find(({ msg }) => msg === 'events did not reach the tracker') as {
    lost?: { category: string; count: number }[];
  };
  const errors = lost?.filter(({ category }) => category === 'error');
  assert.equal(
    errors?.reduce((sum, { count }) => sum + count, 0),
    40,
  );
});

test('a hook that hangs takes no more than its share: the last events are sent, exit 1', async (t) => {
  const tracker = await startTracker(t);
  const app = await spawnApp(
    t,
    { SENTRY_DSN: tracker.dsn, HANG_ON_CLOSE: 'yes', SENTRY_TRACES_SAMPLE_RATE: '0' },
    'test/fixtures/failing-server.js',
  );
  await tracker.fail('refuse');
  for (let i = 0; i < 5; i++) await app.get('/fail/handler');
  const end = app.stop();
  await eventually(() => assert.ok(app.log.some(({ msg }) => msg === 'stopping')));
  await tracker.repair();
  assert.equal(await end, 1);
  assert.ok(
    app.log.some(({ msg }) => msg.startsWith('something of the application does not close')),
  );
  assert.equal(tracker.delivered.events.size, 5);
});

for (const how of ['a hook that hangs', 'a second signal']) {
  test(`with ${how}, too, what is lost is in the log`, async (t) => {
    const tracker = await startTracker(t);
    await tracker.fail(faults.never);
    const app = await spawnApp(
      t,
      { SENTRY_DSN: tracker.dsn, HANG_ON_CLOSE: 'yes', SENTRY_TRACES_SAMPLE_RATE: '0' },
      'test/fixtures/failing-server.js',
    );
    for (let i = 0; i < 5; i++) await app.get('/fail/handler');
    const end = app.stop();
    if (how === 'a second signal') {
      await eventually(() => assert.ok(app.log.some(({ msg }) => msg === 'stopping')));
      app.child.kill('SIGTERM');
    }
    assert.equal(await end, 1);
    const line = app.log.find(({ msg }) => msg === 'events did not reach the tracker');
    assert.deepEqual(line?.lost, [{ category: 'error', reason: 'shutdown', count: 5 }]);
  });
}

test('events that the SDK never gets done with are in the log, too', async (t) => {
  const tracker = await startTracker(t);
  const app = await spawnApp(
    t,
    { SENTRY_DSN: tracker.dsn, HANG_IN_SDK: 'yes', SENTRY_TRACES_SAMPLE_RATE: '0' },
    'test/fixtures/failing-server.js',
  );
  await app.get('/report/messages/3');
  assert.equal(await app.stop(), 0);
  const line = app.log.find(({ msg }) => msg === 'events did not reach the tracker');
  assert.deepEqual(line?.lost, [{ category: 'unknown', reason: 'shutdown', count: 3 }]);
});
