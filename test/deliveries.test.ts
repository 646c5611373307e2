/** An event id alone proves nothing: the pages and the log say what became of the event. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

test("a tracker's refusal is told on the pages and in the log", async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.status(403));
  const app = await spawnApp(t, {
    SENTRY_DSN: tracker.dsn,
    SENTRY_EVENT_URL: 'http://tracker.example/issues/event/',
  });
  const error = await app.get('/trigger-error/');
  const cookie = error.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  await eventually(async () => {
    const html = await (await app.get('/', { headers: { cookie } })).text();
    assert.match(html, /Sentry is on, but the last event did not arrive/);
    assert.match(html, /<code>http_error<\/code><\/dt><dd>1</);
    assert.match(html, /The event of your last error did not arrive/);
    assert.doesNotMatch(html, /tracker\.example/, 'no link to what is not there');
  });
  const next = await (await app.get('/trigger-error/')).text();
  assert.match(next, /The event before this one did not arrive/);
  const lines = () => app.log.filter(({ msg }) => /the tracker did not take an event/.test(msg));
  await eventually(() => assert.equal(lines()[0]?.status_code, 403));
  await Promise.all(Array.from({ length: 20 }, () => app.get('/trigger-error/')));
  await tracker.repair();
  await app.get('/trigger-error/');
  await eventually(async () => {
    const html = await (await app.get('/')).text();
    assert.match(html, /Sentry is on\.</, 'what is over is not told as if it went on');
    assert.match(html, /Events lost since the start/);
  });
  await app.stop();
  assert.equal(lines().length, 1, 'one line is enough for many');
});

test('a tracker that is not there is told on the pages and in the log', async (t) => {
  const app = await spawnApp(t, { SENTRY_DSN: `http://key@127.0.0.1:${await freePort()}/1` });
  await app.get('/trigger-error/');
  await eventually(async () => {
    const html = await (await app.get('/')).text();
    assert.match(html, /<code>network_error<\/code><\/dt><dd>1</);
    assert.ok(app.log.some(({ msg }) => /an event did not reach the tracker/.test(msg)));
  });
});

test('what the tracker has taken is said to be taken', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const error = await app.get('/trigger-error/');
  const cookie = error.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  await eventually(async () => {
    const html = await (await app.get('/', { headers: { cookie } })).text();
    assert.match(html, /The tracker has taken your last error/);
    assert.match(html, /Sentry is on\.</);
  });
});
