import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { eventIds, load, percentile, statuses } from '../helpers/load.ts';
import { readSeries, sumOf } from '../helpers/series.ts';
import { type LogLine, spawnApp } from '../helpers/spawn-app.ts';
import { type Answer, faults, startTracker } from '../helpers/tracker.ts';

const LOST_ERRORS = 'sentry_events_lost_total{category="error"';
const CONNECTIONS = 20;
const SLOWDOWN = 10;
/** Half of them are errors. */
const REQUESTS = 1_000;
/** More errors than the transport keeps waiting. */
const REQUESTS_TO_OVERFLOW = 2_500;
/** What the SDK opens to the tracker at most. */
const TRACKER_CONNECTIONS = 30;

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

const FAULTS: Record<string, Answer | 'refuse'> = {
  'refuses connections': 'refuse',
  'accepts and never answers': faults.never,
  'answers 429': faults.status(429, { 'retry-after': '1' }),
  'answers 413': faults.status(413),
  'answers 500': faults.status(500),
  'answers 301': faults.status(301, { location: 'https://127.0.0.1/' }),
  'answers garbage': faults.garbage,
};

for (const [name, fault] of Object.entries(FAULTS)) {
  // All on one application: most of it is about what the fault has left behind.
  test(`a tracker that ${name}`, async (t) => {
    const tracker = await startTracker(t);
    await tracker.fail(fault);
    const visited = await startVisitedApp(t, tracker.dsn);
    const { app, captured, series, visit } = visited;
    const delivered = () => tracker.delivered.events.size;
    const readState = async () => {
      const now = await series();
      return {
        lost: sumOf(now, LOST_ERRORS),
        descriptors: now.get('process_open_fds') ?? Number.NaN,
        megabytes: Math.round((now.get('process_resident_memory_bytes') ?? Number.NaN) / 2 ** 20),
      };
    };

    let p99Broken = Number.NaN;
    await t.test('every visit is answered', async () => {
      await visit(200);
      p99Broken = await visited.measure(fault === faults.never ? REQUESTS_TO_OVERFLOW : REQUESTS);
    });
    const broken = await readState();

    await tracker.repair();
    await t.test('reporting recovers', async () => {
      await eventually(async () => {
        const seen = delivered();
        await visit(2);
        await eventually(() => assert.notEqual(delivered(), seen), 1);
      }, 60);
    });

    await t.test('every loss is counted', async () => {
      await eventually(async () => {
        const { lost } = await readState();
        assert.equal(delivered() + lost, captured.size, 'delivered and lost');
      }, 60);
    });
    const { lost } = await readState();

    const p99Healthy = await visited.measure(REQUESTS);
    await t.test('no more is lost once it is repaired', async () => {
      await eventually(() => assert.equal(delivered(), captured.size - lost));
    });
    const healthy = await readState();

    await t.test('pages stay fast', () => {
      const message = `p99 ${p99Broken} s, with a healthy one ${p99Healthy} s`;
      assert.ok(p99Broken < SLOWDOWN * p99Healthy, message);
    });

    await t.test('connections stay few', () => {
      const most = healthy.descriptors + TRACKER_CONNECTIONS;
      assert.ok(broken.descriptors <= most, `${broken.descriptors} file descriptors`);
    });

    await t.test('memory does not grow', () => {
      assert.ok(broken.megabytes < 2 * healthy.megabytes, `${broken.megabytes} MiB`);
    });

    await tracker.fail(fault);
    await visit(20);
    const stopping = performance.now();
    await t.test('a stop ends well', async () => assert.equal(await app.stop(), 0));
    const seconds = (performance.now() - stopping) / 1000;

    await t.test('what the stop lost is in the log', () => {
      assert.equal(lostErrors(app.log), lost + 10);
    });

    const ms = (seconds: number) => `${Math.round(seconds * 1000)} ms`;
    t.diagnostic(
      `p99 ${ms(p99Broken)} broken, ${ms(p99Healthy)} healthy; ${broken.megabytes} MiB; ` +
        `${broken.descriptors} descriptors; ${captured.size} errors, ${lost + 10} lost and counted; ` +
        `stopped in ${seconds.toFixed(1)} s`,
    );
  });
}

test('a tracker whose name does not resolve: pages stay fast, every loss is counted', async (t) => {
  const tracker = await startTracker(t);
  const healthy = await startVisitedApp(t, tracker.dsn);
  await healthy.visit(200);
  const p99Healthy = await healthy.measure(REQUESTS);

  const broken = await startVisitedApp(t, 'http://0123456789abcdef@tracker.invalid/1');
  const { app, captured, series } = broken;
  await broken.visit(200);
  const p99Broken = await broken.measure(REQUESTS);
  assert.ok(p99Broken < SLOWDOWN * p99Healthy, `p99 ${p99Broken} s, healthy ${p99Healthy} s`);
  // At most 30 at a time, and up to 10 seconds each where the DNS takes its time to say no.
  await eventually(async () => {
    assert.equal(sumOf(await series(), LOST_ERRORS), captured.size);
  }, 240);
  assert.equal(await app.stop(), 0);
  t.diagnostic(
    `p99 ${Math.round(p99Broken * 1000)} ms broken, ${Math.round(p99Healthy * 1000)} ms healthy; ` +
      `${captured.size} errors, all counted`,
  );
});

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
