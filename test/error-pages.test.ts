/** What visitors, clients and the tracker get when something fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { open } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const DISCLOSURE = /Division by zero|RangeError|node_modules|\.[jt]s:\d|\bat \S+ \(/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

test('a 500 names its event and trace, links the event, and does not disclose the error', async (t) => {
  const sink = await startEnvelopeSink(t);
  const tracker = 'http://tracker.example/issues/event/';
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, SENTRY_EVENT_URL: tracker });
  const pages: { eventId: string; traceId: string | undefined }[] = [];
  for (const path of ['/trigger-error/', '/trigger-error']) {
    const response = await app.get(path);
    assert.equal(response.status, 500);
    const html = await response.text();
    assert.doesNotMatch(html, DISCLOSURE);
    const [, uuid = ''] = /id="event-id">([^<]+)</.exec(html) ?? [];
    assert.match(uuid, UUID);
    assert.ok(html.includes(`href="${tracker}${uuid}"`));
    const traceId = /id="trace-id">([0-9a-f]{32})</.exec(html)?.[1];
    pages.push({ eventId: uuid.replaceAll('-', ''), traceId });
  }

  const events = await eventually(() => {
    const events = sink.items('event');
    assert.equal(events.length, 2, 'an event for each');
    return events;
  });
  for (const { event_id, contexts, exception } of events) {
    const page = pages.find(({ eventId }) => eventId === event_id);
    assert.equal(contexts.trace.trace_id, page?.traceId);
    const { frames } = exception.values[0].stacktrace;
    const [frame, ...others] = frames.filter(({ in_app }: { in_app: boolean }) => in_app);
    assert.match(frame.filename, /src\/routes\/trigger-error\.ts$/);
    assert.match(frame.context_line, /1n \/ 0n/);
    assert.deepEqual(others, [], 'no frame of the application beside the route');
  }
});

test('the other error has a different location, and its breadcrumb', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  assert.equal((await app.get('/trigger-error/other/')).status, 500);
  const event = await eventually(() => {
    const [event] = sink.items('event');
    assert.ok(event);
    return event;
  });
  const frames: { in_app: boolean; context_line: string }[] =
    event.exception.values[0].stacktrace.frames;
  assert.match(String(frames.findLast(({ in_app }) => in_app)?.context_line), /JSON\.parse/);
  assert.equal(event.breadcrumbs.at(-1).message, 'Order 42 was received');
});

test('without Sentry a 500 shows the id in the log, and no event', async (t) => {
  const app = await spawnApp(t);
  assert.ok(app.log.some(({ level, msg }) => level === 40 && msg.startsWith('Sentry is off')));
  const html = await (await app.get('/trigger-error/')).text();
  assert.match(html, /Sentry is off/);
  assert.equal(eventIdOn(html), undefined);
  const traceId = /id="trace-id">([0-9a-f]{32})</.exec(html)?.[1];
  await eventually(() =>
    assert.ok(
      app.log.some(({ msg, trace_id }) => msg === 'request failed' && trace_id === traceId),
    ),
  );
});

test('a client that prefers JSON gets JSON, and any other gets the page', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  for (const accept of ['application/json', 'application/problem+json', 'application/*']) {
    const response = await app.get('/trigger-error/', { headers: { accept } });
    assert.match(response.headers.get('content-type') ?? '', /^application\/json/, accept);
    const { eventId, ...rest } = (await response.json()) as { eventId: string };
    assert.match(eventId, UUID);
    assert.deepEqual(rest, {
      statusCode: 500,
      error: 'Internal Server Error',
      traceId: response.headers.get('x-trace-id'),
    });
  }
  for (const accept of ['*/*', 'text/html,*/*;q=0.8', 'text/html, application/json', 'image/png']) {
    const response = await app.get('/trigger-error/', { headers: { accept } });
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/, accept);
  }
});

test('a 4xx says what was wrong', async (t) => {
  const app = await spawnApp(t);
  for (const [path, statusCode, error, message] of [
    ['/my-view?seconds=11', 400, 'Bad Request', 'querystring/seconds must be <= 10'],
    ['/no/such/page', 404, 'Not Found', 'GET /no/such/page'],
    ["/<b>'", 404, 'Not Found', "GET /%3Cb%3E'"],
  ] as const) {
    const response = await app.get(path, { headers: { accept: 'application/json' } });
    assert.equal(response.status, statusCode);
    assert.deepEqual(await response.json(), { statusCode, error, message });
    const html = await (await app.get(path)).text();
    assert.ok(html.includes(message.replace('<', '&lt;').replace("'", '&#39;')), path);
  }
  const metrics = await (await app.get('/metrics')).text();
  assert.match(metrics, /href="http:\/\/localhost:0\/metrics"/, 'where they are');
});

test('every response has the security headers, and no page needs anything inline', async (t) => {
  const app = await spawnApp(t);
  for (const path of [
    '/',
    '/my-view?seconds=0',
    '/trigger-error/',
    '/no/such/page',
    '/style.css',
  ]) {
    const { headers } = await app.get(path);
    assert.match(
      headers.get('content-security-policy') ?? '',
      /^default-src 'none';style-src 'self'/,
    );
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('referrer-policy'), 'no-referrer', path);
  }
  const html = await (await app.get('/')).text();
  assert.doesNotMatch(html, /<script|<style|style="|\son\w+="/);
});

test('what a visitor sends comes back as text, never as markup', async (t) => {
  const app = await spawnApp(t);
  const markup = '<img/src=x>"';
  const { socket, answer } = open(app.url);
  socket.end(`GET /${markup} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  assert.match(await answer, /404 Not Found.*&lt;img/s);
  assert.doesNotMatch(await answer, /<img/);
});
