import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { fakeClock } from '../helpers/fake-clock.ts';
import { eventIds, load, percentile, statuses } from '../helpers/load.ts';
import { readSeries, sumOf } from '../helpers/series.ts';
import { type LogLine, spawnApp } from '../helpers/spawn-app.ts';
import { type Answer, faults, startTracker } from '../helpers/tracker.ts';

const LOST_ERRORS = 'sentry_events_lost_total{category="error"';
const FAILING_SERVER = 'test/fixtures/failing-server.js';
const noTraces = { SENTRY_TRACES_SAMPLE_RATE: '0' };
const HOUR = 3_600_000;
const CONNECTIONS = 20;
const SLOWDOWN = 10;
/** Half of them are errors. */
const REQUESTS = 1_000;
/** What is opened to the tracker at most. */
const TRACKER_CONNECTIONS = 10;
/** Seconds until the tracker is tried again, and everything has arrived. */
const RECOVERY = 120;
/** Of the container in docker-compose.yml. */
const MEMORY_LIMIT = 384;

/** An application whose visitors meet an error on every other page. */
async function startVisitedApp(t: TestContext, dsn: string) {
  const app = await spawnApp(t, { SENTRY_DSN: dsn, ERRORS_PER_SECOND: '1000000' });
  const captured = new Set<string>();
  return {
    app,
    captured,
    series: () => readSeries(app.metricsUrl),

    /** Their p99, in the quieter half: what else runs on the machine must not fail the test. */
    async measure(requests: number) {
      return Math.min(await this.visit(requests / 2), await this.visit(requests / 2));
    },

    async visit(requests: number) {
      const visits = await load(
        (n) => app.url + (n % 2 ? '/trigger-error/' : '/my-view?seconds=0'),
        { connections: CONNECTIONS, requests },
      );
      for (const id of eventIds(visits)) captured.add(id);
      assert.deepEqual(statuses(visits), ['200', '500'], 'every visit is answered');
      return percentile(visits, 0.99);
    },
  };
}

/** What the application logged at its stop. */
function lostErrors(log: LogLine[]): number {
  const line = log.find(({ msg }) => msg === 'events did not reach the tracker');
  const lost = (line?.lost ?? []) as { category: string; count: number }[];
  return lost
    .filter(({ category }) => category === 'error')
    .reduce((sum, { count }) => sum + count, 0);
}

const memoryOf = (state: Map<string, number>) =>
  Math.round((state.get('process_resident_memory_bytes') ?? Number.NaN) / 2 ** 20);

/** With the reason of a loss, where the same answer would come for ever. */
const FAULTS: Record<string, { fault: Answer | 'refuse'; reason?: string }> = {
  'refuses connections': { fault: 'refuse' },
  'accepts and never answers': { fault: faults.never },
  'answers a byte a second': { fault: faults.drip },
  'answers 429': { fault: faults.status(429, { 'retry-after': '1' }) },
  'answers 500': { fault: faults.status(500) },
  'answers 404, a proxy that does not find it': { fault: faults.status(404) },
  'answers 302, to a login': { fault: faults.status(302, { location: '/login' }) },
  'answers 101, and speaks something else': { fault: faults.upgrade },
  'answers garbage': { fault: faults.garbage },
  'answers 400': { fault: faults.status(400), reason: 'http_error' },
  'answers 403, to a wrong key': { fault: faults.status(403), reason: 'http_error' },
  'answers 413': { fault: faults.status(413), reason: 'send_error' },
};

for (const [name, { fault, reason }] of Object.entries(FAULTS)) {
  const promise = reason ? 'every loss is counted at once' : 'everything arrives when it is back';
  test(`a tracker that ${name}: pages stay fast, ${promise}`, async (t) => {
    const tracker = await startTracker(t);
    await tracker.fail(fault);
    const visited = await startVisitedApp(t, tracker.dsn);
    const { app, captured, series, visit } = visited;

    await visit(200);
    const p99Broken = await visited.measure(REQUESTS);
    const broken = await series();
    const lost = reason ? captured.size : 0;
    if (reason) {
      await eventually(async () => {
        const counted = sumOf(await series(), `${LOST_ERRORS},reason="${reason}"`);
        assert.equal(counted, captured.size);
      }, RECOVERY);
    } else {
      assert.ok((broken.get('sentry_events_waiting') ?? 0) > 0, 'events wait');
    }

    await tracker.repair();
    await visit(2);
    await eventually(() => {
      assert.equal(tracker.delivered.events.size, captured.size - lost);
    }, RECOVERY);
    const p99Healthy = await visited.measure(REQUESTS);
    await eventually(() => {
      assert.equal(tracker.delivered.events.size, captured.size - lost, 'no more is lost');
    }, RECOVERY);
    assert.equal(tracker.delivered.twice, 0, 'each is sent once');
    const healthy = await series();
    assert.equal(sumOf(healthy, LOST_ERRORS), lost, 'nothing else is lost');

    assert.ok(
      p99Broken < SLOWDOWN * p99Healthy,
      `p99 ${p99Broken} s, with a healthy one ${p99Healthy} s`,
    );
    const sockets = tracker.seen.connections;
    assert.ok(sockets <= TRACKER_CONNECTIONS, `${sockets} connections`);
    const memory = memoryOf(broken);
    assert.ok(memory < 2 * memoryOf(healthy), `${memory} MiB`);

    await tracker.fail(fault);
    await visit(20);
    const stopping = performance.now();
    assert.equal(await app.stop(), 0);
    const seconds = (performance.now() - stopping) / 1000;
    assert.equal(lostErrors(app.log), lost + 10, 'what the stop lost is in the log');

    const ms = (seconds: number) => `${Math.round(seconds * 1000)} ms`;
    t.diagnostic(
      `p99 ${ms(p99Broken)} broken, ${ms(p99Healthy)} healthy; ${memory} MiB; ` +
        `${sockets} connections; ${captured.size} errors, ${lost} lost and counted; ` +
        `stopped in ${seconds.toFixed(1)} s`,
    );
  });
}

test('a tracker whose name does not resolve: pages stay fast, everything waits', async (t) => {
  const tracker = await startTracker(t);
  const healthy = await startVisitedApp(t, tracker.dsn);
  await healthy.visit(200);
  const p99Healthy = await healthy.measure(REQUESTS);

  const broken = await startVisitedApp(t, 'http://0123456789abcdef@tracker.invalid/1');
  const { app, captured, series } = broken;
  await broken.visit(200);
  const p99Broken = await broken.measure(REQUESTS);
  assert.ok(p99Broken < SLOWDOWN * p99Healthy, `p99 ${p99Broken} s, healthy ${p99Healthy} s`);
  const state = await series();
  assert.equal(sumOf(state, LOST_ERRORS), 0);
  assert.ok((state.get('sentry_events_waiting') ?? 0) >= captured.size);
  assert.equal(await app.stop(), 0);
  assert.equal(lostErrors(app.log), captured.size, 'and is in the log as lost at the stop');
  t.diagnostic(
    `p99 ${Math.round(p99Broken * 1000)} ms broken, ${Math.round(p99Healthy * 1000)} ms healthy; ` +
      `${memoryOf(state)} MiB; ${captured.size} errors`,
  );
});

test('an event that the tracker fails at for an hour is given up, and does not hold up the others', async (t) => {
  const tracker = await startTracker(t);
  tracker.failAt('"transaction":"GET /fail/view"');
  const app = await spawnApp(
    t,
    { ...fakeClock, FAKE_TIME: String(0.6 * HOUR), SENTRY_DSN: tracker.dsn, ...noTraces },
    FAILING_SERVER,
  );
  const lost = () => app.metric(`${LOST_ERRORS},reason="http_error"}`);
  let others = 0;
  const another = async () => {
    await app.get('/fail/handler');
    others += 1;
    await eventually(() => assert.equal(tracker.delivered.events.size, others), RECOVERY);
  };
  await app.get('/fail/view');
  while (tracker.seen.requests - others < 8) await another();
  assert.equal(await lost(), 0);
  app.child.kill('SIGCONT');
  for (const before = tracker.seen.requests - others; tracker.seen.requests - others === before; )
    await another();
  assert.equal(await lost(), 0);
  app.child.kill('SIGCONT');
  await eventually(async () => {
    await another();
    assert.equal(await lost(), 1);
  }, RECOVERY);
});

test('a tracker that fails at most of what it gets loses nothing', async (t) => {
  const tracker = await startTracker(t);
  tracker.failAtSome(0.6);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, ...noTraces });
  for (let i = 0; i < 40; i++) await app.get('/trigger-error/');
  await eventually(() => assert.equal(tracker.delivered.events.size, 40), 2 * RECOVERY);
  assert.equal(sumOf(await readSeries(app.metricsUrl), LOST_ERRORS), 0);
});

test('a clock that is set back by an hour does not hold up anything', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.status(503));
  const app = await spawnApp(t, {
    ...fakeClock,
    FAKE_DATE: String(-HOUR),
    SENTRY_DSN: tracker.dsn,
    ...noTraces,
  });
  await app.get('/trigger-error/');
  await eventually(() => assert.equal(tracker.seen.requests, 1));
  app.child.kill('SIGCONT');
  await app.get('/trigger-error/');
  await tracker.repair();
  await eventually(() => assert.equal(tracker.delivered.events.size, 2), RECOVERY);
});

for (const [unit, pause] of Object.entries({
  'a time': Math.round(Date.now() / 1000) + 60,
  'a date': 'Fri, 31 Dec 9999 23:59:59 GMT',
})) {
  test(`a Retry-After of ${unit} far from now holds up errors for no more than an hour`, async (t) => {
    const tracker = await startTracker(t);
    await tracker.fail(faults.status(429, { 'retry-after': String(pause) }));
    const app = await spawnApp(t, {
      ...fakeClock,
      FAKE_TIME: String(HOUR),
      SENTRY_DSN: tracker.dsn,
      ...noTraces,
    });
    await app.get('/trigger-error/');
    await eventually(() => assert.equal(tracker.seen.requests, 1));
    await tracker.repair();
    await sleep(3_000);
    assert.equal(tracker.seen.requests, 1, 'it is heeded');
    app.child.kill('SIGCONT');
    await eventually(() => assert.equal(tracker.delivered.events.size, 1));
  });
}

test("a tracker's limits hold for what they name: the rest is sent, and what is limited waits", async (t) => {
  const tracker = await startTracker(t);
  tracker.answerWith({ 'x-sentry-rate-limits': '1800:transaction;span:organization' });
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  await app.get('/trigger-error/');
  await eventually(() => assert.equal(tracker.seen.requests, 1));
  const waiting = () => app.metric('sentry_events_waiting');
  for (let errors = 2; errors < 10; errors++) {
    await app.get('/trigger-error/');
    await eventually(() => assert.equal(tracker.delivered.events.size, errors));
  }
  const { transactions } = tracker.delivered;
  assert.ok(transactions < 2, 'at most the one before the limit');
  await eventually(async () => assert.equal(await waiting(), 9 - transactions));

  // For an hour: it wants none at all.
  tracker.answerWith({ 'x-sentry-rate-limits': '3600:transaction:organization' });
  await app.get('/trigger-error/');
  const lost = 'sentry_events_lost_total{category="transaction",reason="ratelimit_backoff"}';
  await eventually(async () => assert.equal(await app.metric(lost), 10 - transactions));
  assert.equal(await waiting(), 0);
  // Nor what comes a moment later.
  await app.get('/my-view?seconds=0');
  await eventually(async () => assert.equal(await app.metric(lost), 11 - transactions));
});

test('a tracker that asks for a pause is left alone, and what it was asked to take waits', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.status(429, { 'retry-after': '1800' }));
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' });
  for (let i = 0; i < 10; i++) await app.get('/trigger-error/');
  await eventually(() => assert.equal(tracker.seen.requests, 1));
  await sleep(3_000);
  assert.equal(tracker.seen.requests, 1);
  assert.equal(await app.metric('sentry_events_waiting'), 10);
});

test('traces that wait take half of the room, and leave the rest to errors', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail('refuse');
  const app = await spawnApp(t, {
    SENTRY_DSN: tracker.dsn,
    SENTRY_MAX_WAITING_MEGABYTES: '0.2',
    SENTRY_MAX_TRACES_PER_SECOND: '1000',
  });
  await load(() => `${app.url}/my-view?seconds=0`, { connections: CONNECTIONS, requests: 200 });
  const full = await readSeries(app.metricsUrl);
  assert.ok(sumOf(full, 'sentry_events_lost_total{category="transaction"') > 0, 'it is full');
  assert.ok((full.get('sentry_events_waiting_bytes') ?? 0) <= 0.1 * 2 ** 20);
  for (let i = 0; i < 3; i++) await app.get('/trigger-error/');
  const series = await readSeries(app.metricsUrl);
  assert.equal(sumOf(series, LOST_ERRORS), 0);
  assert.equal(series.get('sentry_events_waiting'), (full.get('sentry_events_waiting') ?? 0) + 3);
});

test('everything that the SDK sends is accounted for', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.status(413));
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn }, FAILING_SERVER);
  assert.equal(await (await app.get('/report/everything')).text(), 'ok');
  const lost = (category: string) =>
    app.metric(`sentry_events_lost_total{category="${category}",reason="send_error"}`);
  await eventually(async () => {
    assert.equal(await lost('error'), 2, 'an error and a message');
    assert.equal(await lost('session'), 2, 'a session, and that it met an error');
    for (const category of ['attachment', 'monitor', 'transaction']) {
      assert.equal(await lost(category), 1, category);
    }
  });
});

test('5,000 messages at once: all arrive or are counted', async (t) => {
  const tracker = await startTracker(t);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn }, FAILING_SERVER);
  assert.equal((await app.get('/report/messages/5000')).status, 200);
  const memory = memoryOf(await readSeries(app.metricsUrl));
  assert.ok(memory < MEMORY_LIMIT, `${memory} MiB`);
  const lost = await eventually(async () => {
    const lost = sumOf(await readSeries(app.metricsUrl), LOST_ERRORS);
    assert.equal(tracker.delivered.events.size + lost, 5_000);
    return lost;
  }, RECOVERY);
  t.diagnostic(`${tracker.delivered.events.size} delivered, ${lost} counted; ${memory} MiB`);
});

for (const kilobytes of [20, 100]) {
  test(`2,000 errors of ${kilobytes} kB and a tracker that never answers: memory stays bounded`, async (t) => {
    const tracker = await startTracker(t);
    /** The most memory that there is, and what waits and is lost at the end. */
    const reported = async () => {
      const environment = { SENTRY_DSN: tracker.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' };
      const app = await spawnApp(t, environment, FAILING_SERVER);
      let memory = 0;
      for (let i = 0; i < 20; i++) {
        await load(() => `${app.url}/report/error/${kilobytes}`, {
          connections: CONNECTIONS,
          requests: 100,
        });
        memory = Math.max(memory, memoryOf(await readSeries(app.metricsUrl)));
      }
      const series = await readSeries(app.metricsUrl);
      return { app, memory, lost: sumOf(series, LOST_ERRORS), series };
    };
    const healthy = await reported();
    await healthy.app.stop();
    await tracker.fail(faults.never);
    const { memory, lost, series } = await reported();
    assert.equal((series.get('sentry_events_waiting') ?? 0) + lost, 2_000);
    assert.ok(memory < MEMORY_LIMIT, `${memory} MiB`);
    assert.ok(memory < 2 * healthy.memory, `${memory} MiB, with a healthy one ${healthy.memory}`);
    const waiting = Math.round((series.get('sentry_events_waiting_bytes') ?? 0) / 2 ** 20);
    t.diagnostic(
      `${memory} MiB, with a healthy tracker ${healthy.memory}; ${waiting} MiB wait, ${lost} lost and counted`,
    );
  });
}

for (const burst of [1_000, 10_000]) {
  test(`a burst of ${burst} errors on 200 connections: all arrive or are counted`, async (t) => {
    const tracker = await startTracker(t);
    const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, ERRORS_PER_SECOND: '1000000' });
    const visits = await load(() => `${app.url}/trigger-error/`, {
      connections: 200,
      requests: burst,
    });
    const captured = eventIds(visits);
    assert.equal(new Set(captured).size, burst);
    const lost = await eventually(async () => {
      const series = await readSeries(app.metricsUrl);
      const lost = sumOf(series, LOST_ERRORS);
      assert.equal(tracker.delivered.events.size + lost, burst, 'delivered and lost');
      const overflown = sumOf(series, `${LOST_ERRORS},reason="queue_overflow"`);
      assert.equal(lost, overflown, 'there is no other reason');
      return lost;
    }, 120);
    if (burst <= 1_000) assert.equal(lost, 0);
    const unknown = [...tracker.delivered.events].filter((id) => !captured.includes(id));
    assert.deepEqual(unknown, []);
    t.diagnostic(`${tracker.delivered.events.size} delivered, ${lost} lost and counted`);
    assert.equal(await app.stop(), 0);
  });
}
