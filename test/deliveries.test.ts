/** An event id alone proves nothing: the pages and the log say what became of the event. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { type LogLine, spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

/** What the log says about it while the application runs. */
const aboutTheTracker = (log: LogLine[]) =>
  log
    .filter(({ msg }) => msg.startsWith('the tracker '))
    .map(({ msg, reason = '' }) => `${msg} ${reason}`.trim());

test("a tracker's refusal is told on the pages and in the log", async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.status(403));
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  const error = await app.get('/trigger-error/');
  const cookie = error.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  await eventually(async () => {
    const html = await (await app.get('/', { headers: { cookie } })).text();
    assert.match(html, /<code>http_error<\/code><\/dt><dd>1</);
    assert.match(html, /Not every event arrives/);
    assert.doesNotMatch(html, /class="done"/);
  });
  assert.match(await (await app.get('/trigger-error/')).text(), /Not every event arrives/);
  await app.stop();
  assert.deepEqual(aboutTheTracker(app.log), [
    'the tracker refuses events, which are lost: is SENTRY_DSN right? it answered 403',
  ]);
});

test('a tracker that does not answer is told on the pages and in the log', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail('refuse');
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' });
  const wait = /Events wait to be sent to the tracker/;
  assert.doesNotMatch(await (await app.get('/trigger-error/')).text(), wait);
  assert.match(await (await app.get('/trigger-error/')).text(), wait);
  const guide = async () => (await app.get('/')).text();
  assert.match(await guide(), /Events that wait to be sent to the tracker<\/dt><dd>2</);
  // Another fault is told, too, but no attempt more than the first.
  await eventually(() => assert.equal(aboutTheTracker(app.log).length, 1));
  await tracker.fail(faults.status(503));
  await eventually(() => assert.ok(tracker.seen.requests > 1), 60);
  await tracker.repair();
  await eventually(async () => assert.match(await guide(), /Sentry is on\.</), 60);
  await app.get('/trigger-error/');
  await eventually(() => assert.equal(tracker.delivered.events.size, 3));
  const log = 'the tracker does not take events, which wait: is SENTRY_DSN right?';
  assert.deepEqual(aboutTheTracker(app.log), [
    `${log} connect ECONNREFUSED 127.0.0.1:${tracker.port}`,
    `${log} it answered 503`,
    'the tracker takes events again, and none waits',
  ]);
});

test('nothing of that is said while every event arrives', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  await app.get('/trigger-error/');
  await eventually(async () => {
    const html = await (await app.get('/')).text();
    assert.match(html, /<p class="done">Sentry is on\.</);
    assert.doesNotMatch(html, /Not every event|wait to be sent/);
  });
  await app.stop();
  assert.deepEqual(
    app.log.filter(({ msg }) => /SENTRY_DSN/.test(msg)),
    [],
  );
});

test('the guide does not say of an event that waits that it was sent', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.never);
  const app = await spawnApp(t, { SENTRY_DSN: tracker.dsn });
  const error = await app.get('/trigger-error/');
  assert.doesNotMatch(await error.text(), /class="failed"/, 'it is under way');
  const cookie = error.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  const html = await (await app.get('/', { headers: { cookie } })).text();
  assert.doesNotMatch(html, /was sent/);
  const [, step = ''] = html.split('<article id="trigger-error"');
  assert.match(step.split('</article>')[0] ?? '', /Events wait to be sent to the tracker/);
  assert.doesNotMatch(html, /Not every event arrives/);
});
