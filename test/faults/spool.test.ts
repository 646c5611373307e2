import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { fakeClock } from '../helpers/fake-clock.ts';
import { eventIds, load } from '../helpers/load.ts';
import { readSeries, sumOf } from '../helpers/series.ts';
import { spawnApp } from '../helpers/spawn-app.ts';
import { startTracker } from '../helpers/tracker.ts';

const FAILING_SERVER = 'test/fixtures/failing-server.js';
/** Seconds until a process that was killed counts as dead, and what it left is taken over. */
const TAKEN_OVER = 120;

/** A tracker that is away, and a folder in which several applications wait for it. */
async function startOutage(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'spool-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const tracker = await startTracker(t);
  await tracker.fail('refuse');
  const files = () =>
    readdirSync(folder, { recursive: true })
      .map((file) => join(folder, String(file)))
      .filter((file) => file.endsWith('.envelope'));
  return {
    folder,
    tracker,
    files,
    start: (environment: Record<string, string> = {}) =>
      spawnApp(
        t,
        {
          SENTRY_DSN: tracker.dsn,
          SENTRY_SPOOL_DIRECTORY: folder,
          SENTRY_TRACES_SAMPLE_RATE: '0',
          ERRORS_PER_SECOND: '1000000',
          ...environment,
        },
        FAILING_SERVER,
      ),
    /** Everything has arrived, once, and nothing is left. */
    async arrived(captured: string[], seconds = TAKEN_OVER) {
      await eventually(() => {
        assert.deepEqual([...tracker.delivered.events].sort(), [...captured].sort());
      }, seconds);
      await eventually(() => assert.deepEqual(files(), []));
      assert.equal(tracker.delivered.twice, 0, 'each is sent once');
    },
  };
}

type App = Awaited<ReturnType<typeof spawnApp>>;

const errors = async (app: App, count: number) =>
  eventIds(await load(() => `${app.url}/trigger-error/`, { connections: 10, requests: count }));

const lostErrors = async (app: App) =>
  sumOf(await readSeries(app.metricsUrl), 'sentry_events_lost_total{category="error"');

const logged = (app: App, message: string) => app.log.find(({ msg }) => msg === message);

const minutes = process.env.npm_lifecycle_event === 'test:faults' ? 2 : 0.5;

test(`a tracker that is away for ${minutes} minutes under 20 errors a second, the application stopped and killed meanwhile: each error arrives once`, async (t) => {
  const { tracker, start, arrived } = await startOutage(t);
  const captured: string[] = [];
  let app = await start();
  const visit = async (seconds: number) => {
    for (let i = 0; i < seconds; i++) {
      const second = sleep(1_000);
      captured.push(...(await errors(app, 20)));
      await second;
    }
  };
  await visit(20 * minutes);
  assert.equal(await app.stop(), 0);
  assert.ok(!logged(app, 'events did not reach the tracker'), 'nothing is lost');
  app = await start();
  await visit(20 * minutes);
  // What was captured in the last moment before a kill is in memory only.
  await sleep(3_000);
  const killed = once(app.child, 'close');
  app.child.kill('SIGKILL');
  await killed;
  app = await start();
  await visit(20 * minutes);
  await tracker.repair();
  await arrived(captured);
  assert.equal(await lostErrors(app), 0);
  t.diagnostic(`${captured.length} errors, ${tracker.delivered.events.size} arrived`);
});

test('an uncaught exception while the tracker is away arrives after the restart', async (t) => {
  const { tracker, start } = await startOutage(t);
  const app = await start();
  const end = once(app.child, 'close');
  await app.get('/fail/outside/exception').catch(() => {});
  assert.deepEqual(await end, [1, null]);
  await tracker.repair();
  await start();
  await eventually(() => assert.equal(tracker.delivered.events.size, 1), TAKEN_OVER);
});

test('two processes on one folder: what a third left behind is sent once', async (t) => {
  const { tracker, start, arrived } = await startOutage(t);
  const first = await start();
  const captured = await errors(first, 200);
  assert.equal(await first.stop(), 0);
  const both = await Promise.all([start(), start()]);
  for (const app of both) captured.push(...(await errors(app, 20)));
  await tracker.repair();
  await arrived(captured);
});

test('when what may wait is full, the newest are counted as lost, and a restart keeps the rest', async (t) => {
  const { tracker, start, arrived } = await startOutage(t);
  const app = await start({ SENTRY_MAX_WAITING_MEGABYTES: '1' });
  const captured = await errors(app, 500);
  const lost = await eventually(async () => {
    const series = await readSeries(app.metricsUrl);
    const lost = sumOf(
      series,
      'sentry_events_lost_total{category="error",reason="queue_overflow"}',
    );
    assert.equal((series.get('sentry_events_waiting') ?? 0) + lost, 500);
    assert.ok((series.get('sentry_events_waiting_bytes') ?? 0) <= 2 ** 20);
    return lost;
  });
  assert.ok(lost > 0 && lost < 500, `${lost} lost`);
  assert.equal(await app.stop(), 0);
  await start();
  await tracker.repair();
  await eventually(() => assert.equal(tracker.delivered.events.size, 500 - lost), TAKEN_OVER);
  await arrived([...tracker.delivered.events]);
  // Ten requests at a time: the first hundred were among the oldest.
  for (const id of captured.slice(0, 100)) assert.ok(tracker.delivered.events.has(id));
  t.diagnostic(`of 500 errors ${500 - lost} fit into a megabyte`);
});

test('a damaged file is set aside, named in the log and counted; the others arrive', async (t) => {
  const { folder, tracker, files, start } = await startOutage(t);
  const first = await start();
  await errors(first, 10);
  assert.equal(await first.stop(), 0);
  const [cut = '', changed = ''] = files();
  writeFileSync(cut, readFileSync(cut).subarray(0, 1000));
  writeFileSync(changed, String(readFileSync(changed)).replace('error', 'erroR'));

  await tracker.repair();
  const app = await start();
  await eventually(async () => {
    assert.equal(tracker.delivered.events.size, 8);
    assert.equal(await lostErrors(app), 2);
  }, TAKEN_OVER);
  const named = app.log.flatMap(({ msg, file }) => (/damaged/.test(msg) ? [String(file)] : []));
  const damaged = readdirSync(folder).filter((name) => name.endsWith('.damaged'));
  assert.deepEqual(named.sort(), damaged.map((name) => join(folder, name)).sort());
  assert.equal(damaged.length, 2);
});

test('what was saved too long ago is counted as lost', async (t) => {
  const { tracker, files, start } = await startOutage(t);
  const first = await start();
  await errors(first, 2);
  assert.equal(await first.stop(), 0);
  const [file = ''] = files();
  const old = join(file, '..', file.split('/').at(-1)?.replace(/^\d+/, '1600000000000') ?? '');
  renameSync(file, old);
  await tracker.repair();
  const app = await start();
  await eventually(async () => {
    assert.equal(tracker.delivered.events.size, 1);
    assert.equal(await lostErrors(app), 1);
  }, TAKEN_OVER);
});

test('a folder that cannot be written to is named in the log, and nothing else changes', async (t) => {
  const { folder, tracker, start, arrived } = await startOutage(t);
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  const app = await start({ SENTRY_SPOOL_DIRECTORY: join(file, 'spool') });
  const cannot = 'spool cannot be used: what waits may be in memory only';
  await eventually(() => assert.ok(app.log.some(({ msg }) => msg.endsWith(`a-file/${cannot}`))));
  const captured = await errors(app, 3);
  await tracker.repair();
  await arrived(captured);
});

test('another DSN on the same folder sends nothing of the first', async (t) => {
  const [here, there] = [await startOutage(t), await startTracker(t)];
  const first = await here.start();
  const captured = await errors(first, 3);
  assert.equal(await first.stop(), 0);
  const other = await here.start({ SENTRY_DSN: there.dsn });
  const own = await errors(other, 1);
  await eventually(() => assert.equal(there.delivered.events.size, 1));
  assert.equal(await other.stop(), 0);
  assert.deepEqual([...there.delivered.events], own);
  await here.tracker.repair();
  await here.start();
  await here.arrived(captured);
});

test('what several left is left where it is until there is room', async (t) => {
  const { tracker, files, start, arrived } = await startOutage(t);
  const environment = { SENTRY_MAX_WAITING_MEGABYTES: '1' };
  const apps = await Promise.all([start(environment), start(environment)]);
  const captured = (await Promise.all(apps.map((app) => errors(app, 100)))).flat();
  await Promise.all(apps.map((app) => app.stop()));
  assert.equal(files().length, 200);
  const app = await start(environment);
  await eventually(async () => assert.ok(((await app.metric('sentry_events_waiting')) ?? 0) > 10));
  captured.push(...(await errors(app, 5)));
  await tracker.repair();
  await arrived(captured);
  assert.equal(await lostErrors(app), 0);
});

test('an application that is restarted again and again leaves no more than twice what may wait', async (t) => {
  const { files, start } = await startOutage(t);
  const megabytes = 0.2;
  for (let starts = 0; starts < 6; starts++) {
    const app = await start({ SENTRY_MAX_WAITING_MEGABYTES: String(megabytes) });
    if (starts > 0) {
      await eventually(async () =>
        assert.ok(((await app.metric('sentry_events_waiting')) ?? 0) > 1),
      );
    }
    await errors(app, 100);
    assert.ok((await lostErrors(app)) > 0, 'some are too many');
    assert.equal(await app.stop(), 0);
  }
  const bytes = files().reduce((sum, file) => sum + statSync(file).size, 0);
  t.diagnostic(
    `after six starts ${(bytes / 2 ** 20).toFixed(2)} MB are left, of 0.2 that may wait`,
  );
  assert.ok(bytes > 0 && bytes <= 2 * megabytes * 2 ** 20, `${bytes} bytes`);
});

test('two processes whose clocks differ by a minute leave each other what they have', async (t) => {
  const { tracker, files, start, arrived } = await startOutage(t);
  const first = await start();
  const second = await start({ ...fakeClock, FAKE_DATE: '60000' });
  const captured = await errors(first, 20);
  second.child.kill('SIGCONT');
  await eventually(() => assert.equal(files().length, 20));
  // Two looks of the second, at least.
  await sleep(12_000);
  assert.equal(await second.metric('sentry_events_waiting'), 0);
  await tracker.repair();
  await arrived(captured);
});

test('what waits longer than a week is given up, without a restart, too', async (t) => {
  const { tracker, files, start } = await startOutage(t);
  const app = await start({ ...fakeClock, FAKE_TIME: String(8 * 24 * 3_600_000) });
  await errors(app, 2);
  await eventually(() => assert.equal(files().length, 2));
  app.child.kill('SIGCONT');
  await eventually(async () => {
    const lost = 'sentry_events_lost_total{category="error",reason="too_old"}';
    assert.equal(await app.metric(lost), 2);
  }, TAKEN_OVER);
  assert.deepEqual(files(), []);
  assert.equal(tracker.seen.requests, 0);
});

test('a folder that is emptied while events wait: the stop saves them again', async (t) => {
  const { folder, tracker, files, start, arrived } = await startOutage(t);
  const app = await start();
  const captured = await errors(app, 3);
  await eventually(() => assert.equal(files().length, 3));
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  assert.equal(await app.stop(), 0);
  assert.equal(files().length, 3);
  await tracker.repair();
  await start();
  await arrived(captured);
});

test('a folder that cannot be listed is named in the log once, and the application goes on', async (t) => {
  const { folder, tracker, start, arrived } = await startOutage(t);
  // A symbolic link to itself.
  const app = await start();
  const [own = ''] = readdirSync(folder);
  rmSync(join(folder, own), { recursive: true });
  symlinkSync(own, join(folder, own));
  const complaints = () => app.log.filter(({ msg }) => msg.includes('spool-')).length;
  await eventually(() => assert.ok(complaints() > 0), TAKEN_OVER);
  const captured = await errors(app, 3);
  await sleep(6_000);
  assert.equal(complaints(), 1);
  await tracker.repair();
  await eventually(() => assert.equal(tracker.delivered.events.size, 3), TAKEN_OVER);
  rmSync(join(folder, own));
  await arrived(captured);
});

test('a disk that is full is named in the log once, and leaves no half a file', async (t) => {
  const { folder, tracker, start, arrived } = await startOutage(t);
  // A limit on the size of a file fails in the middle of it, as a full disk does.
  const app = await start();
  const limited = spawnSync('prlimit', [`--pid=${app.child.pid}`, '--fsize=1000']);
  if (limited.status !== 0) return t.skip('prlimit is not there');
  const captured = await errors(app, 3);
  const complaints = () => app.log.filter(({ msg }) => msg.includes('spool-')).length;
  await eventually(() => assert.equal(complaints(), 1));
  await sleep(2_000);
  assert.equal(complaints(), 1);
  const left = readdirSync(folder, { recursive: true }).map(String);
  assert.deepEqual(
    left.filter((name) => name.endsWith('.tmp')),
    [],
  );
  await tracker.repair();
  await arrived(captured);
});

test('a folder that nobody can make is named in the log, and takes no time', async (t) => {
  const { tracker, start, arrived } = await startOutage(t);
  const app = await start({ SENTRY_SPOOL_DIRECTORY: '/proc/spool' });
  await eventually(() =>
    assert.ok(app.log.some(({ msg }) => msg.startsWith('/proc/spool cannot'))),
  );
  const captured = await errors(app, 3);
  await tracker.repair();
  await arrived(captured);
});
