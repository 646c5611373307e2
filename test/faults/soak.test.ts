import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventIds, load, statuses, type Visit } from '../helpers/load.ts';
import { readSeries } from '../helpers/series.ts';
import { spawnApp } from '../helpers/spawn-app.ts';
import { startTracker } from '../helpers/tracker.ts';

const isLong = process.env.npm_lifecycle_event === 'soak';
const minutes = Number(process.env.SOAK_MINUTES || (isLong ? 30 : 1));

/** In a minute or two V8 may not collect at all what is left of the requests. */
const MEMORY = minutes < 10 ? 1.5 : 1.2;

/**
 * What has to level off, and how many times the middle third's median the last third's may be. What
 * grows with the time alone would be 5/3.
 */
const BOUNDS: Record<string, number> = {
  process_resident_memory_bytes: MEMORY,
  nodejs_heap_size_used_bytes: MEMORY,
  process_open_fds: 1.2,
  nodejs_active_resources_total: 1.2,
  nodejs_eventloop_lag_p50_seconds: 3,
};

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

test(`${minutes} minutes of visits and errors: memory, handles and delay level off`, async (t) => {
  const tracker = await startTracker(t);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, ERRORS_PER_SECOND: '1000000' });
  const paths = [
    '/',
    '/my-view?seconds=0',
    '/my-view?seconds=0',
    '/no/such/page',
    '/trigger-error/',
  ];

  const samples: Map<string, number>[] = [];
  const seen = new Set<string>();
  let visits = 0;
  let events = 0;
  const until = Date.now() + minutes * 60_000;
  while (Date.now() < until) {
    const second = sleep(1_000);
    const batch: Visit[] = await load((n) => app.url + paths[n % paths.length], {
      connections: 10,
      requests: 100,
    });
    visits += batch.length;
    events += eventIds(batch).length;
    for (const status of statuses(batch)) seen.add(status);
    samples.push(await readSeries(app.metricsUrl));
    await second;
  }
  assert.deepEqual([...seen].sort(), ['200', '404', '500'], 'every visit is answered');

  const third = Math.floor(samples.length / 3);
  for (const [name, factor] of Object.entries(BOUNDS)) {
    const values = (from: number) =>
      samples.slice(from, from + third).map((sample) => sample.get(name) ?? Number.NaN);
    const middle = median(values(third));
    const last = median(values(2 * third));
    t.diagnostic(`${name}: ${middle} in the middle third, ${last} in the last`);
    assert.ok(last <= factor * middle, `${name}: ${last}, before ${middle}`);
  }
  assert.equal(await app.stop(), 0);
  assert.equal(tracker.delivered.events.size, events, 'every event arrived');
  t.diagnostic(`${visits} visits, ${events} events`);
});
