/** An event id alone proves nothing: the pages and the log say what became of the event. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

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
  const lines = () =>
    app.log.filter(({ msg }) => msg.startsWith('the tracker did not take events'));
  await eventually(() => assert.equal(lines().length, 1), 30);
  assert.deepEqual(lines()[0]?.lost, [{ reason: 'http_error', count: 2 }]);
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
  const lines = () => app.log.filter(({ msg }) => msg.startsWith('events wait for the tracker'));
  await eventually(() => assert.equal(lines()[0]?.waiting, 2), 30);

  await tracker.repair();
  await eventually(async () => assert.match(await guide(), /Sentry is on\.</), 60);
  assert.equal(lines().length, 1);
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
