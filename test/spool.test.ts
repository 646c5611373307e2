/** What src/monitoring/spool.ts promises, with processes that have nothing else. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from './helpers/eventually.ts';
import { type Answer, faults, startTracker } from './helpers/tracker.ts';

/** Seconds for a request's deadline and some retries. */
const RECOVERY = 60;
const HOUR = 3_600_000;
/** A process whose clock is ahead takes another's new files for abandoned ones. */
const later = { MILLISECONDS_AHEAD: '120000' };

async function kill(child: ChildProcess): Promise<void> {
  const isOver = child.exitCode !== null || child.signalCode !== null;
  if (child.kill('SIGKILL') && !isOver) await once(child, 'close');
}

async function startProcess(children: ChildProcess[], environment: Record<string, string>) {
  const child = fork('test/fixtures/spooling-process.js', {
    env: { PATH: process.env.PATH, ...environment },
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  children.push(child);
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ask = async (...command: unknown[]) => {
    child.send(command);
    return (await once(child, 'message'))[0].result;
  };
  const end = once(child, 'close').then(([code]) => assert.fail(`exit code ${code}: ${stderr}`));
  await Promise.race([once(child, 'message'), end]);
  end.catch(() => {});
  return {
    capture: (count: number, text = 'an error'): Promise<string[]> => ask('capture', count, text),
    trace: (count: number) => ask('trace', count),
    flush: (timeout: number): Promise<boolean> => ask('flush', timeout),
    pass: (milliseconds: number) => ask('pass', milliseconds),
    waiting: (): Promise<number> => ask('waiting'),
    lost: (): Promise<Record<string, number>> => ask('lost'),
    warnings: () => stderr.split('\n').filter((line) => line.includes('[SENTRY_SPOOL]')),
    kill: () => kill(child),
  };
}

/** A tracker, and a directory for the events queued for it. */
async function start(t: TestContext, { fault, delay }: { fault?: Fault; delay?: number } = {}) {
  const directory = fs.mkdtempSync(join(tmpdir(), 'spool-'));
  const children: ChildProcess[] = [];
  t.after(async () => {
    await Promise.all(children.map(kill));
    fs.rmSync(directory, { recursive: true, force: true });
  });
  const files = () =>
    fs
      .readdirSync(directory, { recursive: true })
      .map((name) => join(directory, String(name)))
      .filter((path) => path.includes(','));
  const tracker = await startTracker(t, delay);
  if (fault) await tracker.fail(fault);
  return {
    tracker,
    directory,
    queued: () => files().filter((path) => path.split(',').length === 4),
    claimed: () => files().filter((path) => path.split(',').length === 5),
    files,
    process: (environment: Record<string, string> = {}) =>
      startProcess(children, {
        SENTRY_DSN: tracker.dsn,
        SPOOL_DIRECTORY: directory,
        ...environment,
      }),
    async arrived(ids: string[]) {
      await eventually(() => assert.equal(tracker.delivered.events.size, ids.length), RECOVERY);
      assert.deepEqual([...tracker.delivered.events].sort(), ids.toSorted());
    },
  };
}
type Fault = Answer | 'refuse';

const OUTAGES: Record<string, Fault> = {
  'refuses connections': 'refuse',
  'never answers': faults.never,
  'answers a byte a second': faults.drip,
  'answers garbage': faults.garbage,
  'answers 101': faults.upgrade,
  'answers 302': faults.status(302, { location: '/login' }),
  'answers 404': faults.status(404),
  'answers 429': faults.status(429, { 'retry-after': '1' }),
  'answers 503': faults.status(503),
};
const DAY = 24 * HOUR;

describe('spool', { concurrency: 6, timeout: 300_000 }, () => {
  for (const [name, fault] of Object.entries(OUTAGES)) {
    test(`a tracker that ${name}: all events arrive once it is back`, async (t) => {
      const { tracker, process, files, arrived } = await start(t, { fault });
      const { capture, waiting, lost, warnings } = await process();
      const ids = await capture(25);
      await eventually(() => assert.equal(warnings().length, 1), RECOVERY);
      assert.match(String(warnings()), /Events are queued for the tracker: .*SENTRY_DSN/);
      assert.equal(await waiting(), 25);
      await tracker.repair();
      await arrived(ids);
      await eventually(async () => assert.equal(await waiting(), 0));
      assert.deepEqual(files(), [], 'no file is left');
      assert.equal(tracker.delivered.twice, 0);
      assert.ok(tracker.seen.connections <= 10, `${tracker.seen.connections} connections`);
      assert.deepEqual(await lost(), {});
    });
  }

  test('a proxy that does not answer: all events arrive once it does', async (t) => {
    const { tracker, process, arrived } = await start(t);
    let isSilent = true;
    const proxy = createServer().listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.after(() => proxy.close());
    proxy.on('connect', (_request, socket) => {
      socket.on('end', () => socket.destroy()).on('error', () => {});
      if (isSilent) return socket.resume();
      const target = connect(tracker.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        socket.pipe(target).pipe(socket);
      });
      target.on('error', () => socket.destroy());
    });
    const { port } = proxy.address() as AddressInfo;
    const { capture, warnings } = await process({ http_proxy: `http://127.0.0.1:${port}` });
    const ids = await capture(3);
    await eventually(() => assert.match(String(warnings()), /no answer/), RECOVERY);
    assert.equal(tracker.seen.requests, 0);
    isSilent = false;
    await arrived(ids);
  });

  for (const status of [400, 403, 413]) {
    for (const SPOOL_DIRECTORY of [undefined, '']) {
      const how = SPOOL_DIRECTORY === '' ? ', without a directory' : '';
      test(`events that the tracker rejects with ${status} are counted${how}`, async (t) => {
        const { process } = await start(t, { fault: faults.status(status) });
        const environment = SPOOL_DIRECTORY === '' ? { SPOOL_DIRECTORY } : undefined;
        const { capture, flush, lost, warnings } = await process(environment);
        await capture(3);
        assert.equal(await flush(5_000), true);
        assert.deepEqual(await lost(), { 'error send_error': 3 });
        if (status !== 413) assert.match(String(warnings()), new RegExp(`answers ${status}`));
      });
    }
  }

  test('without a directory, what the SDK loses is counted', async (t) => {
    const { process } = await start(t, { fault: 'refuse' });
    const { capture, lost } = await process({ SPOOL_DIRECTORY: '' });
    await capture(3);
    await eventually(async () => assert.deepEqual(await lost(), { 'error network_error': 3 }));
  });

  test('a process killed with -9: two new ones send what it left, once', async (t) => {
    const { tracker, process, claimed, arrived } = await start(t, {
      fault: faults.never,
      delay: 100,
    });
    const killed = await process();
    const ids = await killed.capture(100);
    await eventually(() => assert.equal(claimed().length, 10));
    await killed.kill();
    await tracker.repair();
    const both = await Promise.all([process(later), process(later)]);
    for (const { capture } of both) ids.push(...(await capture(50)));
    await arrived(ids);
    assert.equal(tracker.delivered.twice, 0);
  });

  test('two processes, one killed while it sends: the other one sends the rest', async (t) => {
    const { tracker, process, queued, claimed, arrived } = await start(t, { delay: 50 });
    const [one, other] = await Promise.all([process(), process()]);
    const [ids, others] = await Promise.all([one.capture(100), other.capture(100)]);
    await one.kill();
    await eventually(() => assert.deepEqual(queued(), []));
    await other.pass(2 * 60_000);
    await arrived([...ids, ...others]);
    await eventually(() => assert.deepEqual(claimed(), []));
    assert.ok(tracker.delivered.twice <= 10, 'only what was in flight may be sent again');
  });

  test('a burst of 500 errors arrives', async (t) => {
    const { tracker, process, arrived } = await start(t);
    const { capture, lost } = await process();
    await arrived(await capture(500));
    assert.equal(tracker.delivered.twice, 0);
    assert.deepEqual(await lost(), {});
  });

  test('events beyond the limit are dropped and counted, and half of it is reserved for errors', async (t) => {
    const { tracker, process, queued } = await start(t, { fault: 'refuse' });
    const { capture, trace, waiting, lost } = await process({ MAX_MEGABYTES: '0.2' });
    const bytes = () => queued().reduce((sum, path) => sum + fs.statSync(path).size, 0);
    await trace(300);
    const traces = await waiting();
    assert.deepEqual(await lost(), { 'transaction queue_overflow': 300 - traces });
    assert.ok(traces > 0 && traces < 300 && bytes() <= 0.1 * 2 ** 20);
    await capture(3);
    assert.equal(await waiting(), traces + 3);
    await capture(100);
    const errors = (await waiting()) - traces;
    assert.equal((await lost())['error queue_overflow'], 103 - errors);
    assert.ok(errors > 3 && errors < 103 && bytes() <= 0.2 * 2 ** 20);
    await tracker.repair();
    await eventually(() => assert.equal(tracker.delivered.events.size, errors), RECOVERY);
    assert.equal(tracker.delivered.transactions, traces);
  });

  test('a directory that cannot be written to stops the start', async (t) => {
    const { directory, process } = await start(t);
    const file = join(directory, 'a-file');
    fs.writeFileSync(file, '');
    // Where mkdir with `recursive` does not return.
    const proc = fs.existsSync('/proc') ? ['/proc/spool'] : [];
    for (const SPOOL_DIRECTORY of [join(file, 'spool'), file, ...proc])
      await assert.rejects(
        process({ SPOOL_DIRECTORY }),
        /exit code 1: .*The spool directory .* cannot be written to: .* Create it/s,
      );
  });

  test('a directory that fails loses events, which is counted, with one warning', async (t) => {
    const { directory, process } = await start(t);
    const { capture, lost, warnings } = await process();
    fs.rmSync(directory, { recursive: true });
    await capture(3);
    assert.deepEqual(await lost(), { 'error queue_overflow': 3 });
    assert.equal(warnings().filter((line) => line.includes('lost')).length, 1);
  });

  test('a file that was half written is counted, and the others are sent', async (t) => {
    const { tracker, process, files, arrived } = await start(t, { fault: 'refuse' });
    const first = await process();
    const ids = await first.capture(2);
    await first.kill();
    assert.equal(files().length, 2);
    const [half = ''] = files();
    const [{ event_id }] = JSON.parse(fs.readFileSync(half, 'utf8'));
    fs.truncateSync(half, 500);
    await tracker.repair();
    // It may have been claimed.
    const { lost } = await process(later);
    await arrived(ids.filter((id) => id !== event_id));
    await eventually(async () => assert.deepEqual(await lost(), { 'error damaged': 1 }));
    assert.deepEqual(files(), []);
  });

  test('flush tries once more, within its timeout', async (t) => {
    const { tracker, process } = await start(t, { fault: faults.never });
    const { capture, flush, waiting } = await process();
    await capture(3);
    assert.equal(await Promise.race([flush(200), sleep(5_000)]), false, 'before the deadline');
    await tracker.fail('refuse');
    await tracker.repair();
    assert.equal(await flush(5_000), true);
    assert.equal(tracker.delivered.events.size, 3);
    assert.equal(await waiting(), 0);
  });

  test('a Retry-After of centuries is honored for an hour', async (t) => {
    const forever = { 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT' };
    const { tracker, process } = await start(t, { fault: faults.status(429, forever) });
    const { capture, flush, pass } = await process();
    await capture(1);
    await eventually(() => assert.equal(tracker.seen.requests, 1));
    await tracker.repair();
    assert.equal(await flush(5_000), false);
    assert.equal(tracker.seen.requests, 1);
    await pass(HOUR);
    assert.equal(await flush(5_000), true);
    assert.equal(tracker.delivered.events.size, 1);
  });

  test('traces that the tracker rejects are not lost errors, and cause no warning', async (t) => {
    const { tracker, process, arrived } = await start(t);
    tracker.answerWith({ 'x-sentry-rate-limits': '86400:transaction;span:organization' });
    const { capture, trace, flush, lost, waiting, warnings } = await process();
    const ids = await capture(1);
    await arrived(ids);
    await trace(3);
    await arrived([...ids, ...(await capture(1))]);
    assert.equal(await flush(5_000), true);
    assert.deepEqual(await lost(), { 'transaction ratelimit_backoff': 3 });
    assert.equal(await waiting(), 0);
    assert.deepEqual(warnings(), []);
  });

  test('events that the tracker fails on do not block the others', async (t) => {
    const { tracker, process, arrived } = await start(t);
    tracker.failAt('poison');
    const { capture, waiting } = await process();
    await capture(12, 'poison');
    await arrived(await capture(5));
    await eventually(async () => assert.equal(await waiting(), 12));
  });

  test('events queued for one tracker are not sent to another', async (t) => {
    const here = await start(t, { fault: 'refuse' });
    const there = await startTracker(t);
    const first = await here.process();
    const ids = await first.capture(3);
    await first.kill();
    const second = await here.process({ ...later, SENTRY_DSN: there.dsn });
    const others = await second.capture(1);
    assert.equal(await second.flush(5_000), true);
    assert.deepEqual([...there.delivered.events], others);
    await here.tracker.repair();
    await here.process(later);
    await here.arrived(ids);
  });

  test('events older than a week are dropped and counted', async (t) => {
    const { tracker, process } = await start(t, { fault: 'refuse' });
    const { capture, pass, flush, lost } = await process();
    await capture(2);
    await pass(8 * DAY);
    await tracker.repair();
    await flush(5_000);
    assert.deepEqual(await lost(), { 'error too_old': 2 });
    assert.equal(tracker.delivered.events.size, 0);
  });
});
