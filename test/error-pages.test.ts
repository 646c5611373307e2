/** What a client gets that asks for JSON, or for what a page does not do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const JSON_ONLY = { headers: { accept: 'application/json' } };

test('a client that asks for JSON gets a failure as JSON, with the ids of its event', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const response = await app.get('/trigger-error/', JSON_ONLY);
  assert.equal(response.status, 500);
  assert.match(response.headers.get('content-type') ?? '', /^application\/json/);
  const event = await eventually(() => {
    const [event] = sink.items('event');
    assert.ok(event);
    return event;
  });
  assert.deepEqual(await response.json(), {
    statusCode: 500,
    error: 'Internal Server Error',
    eventId: event.event_id,
    traceId: response.headers.get('x-trace-id'),
  });
});

test('without a tracker it gets no event id', async (t) => {
  const app = await spawnApp(t);
  const { eventId } = (await (await app.get('/trigger-error/', JSON_ONLY)).json()) as {
    eventId: null;
  };
  assert.equal(eventId, null);
});

test('a refusal is JSON, too, and says what was wrong', async (t) => {
  const app = await spawnApp(t);
  for (const [path, statusCode, error, message] of [
    ['/my-view?seconds=x', 400, 'Bad Request', 'querystring/seconds must be number'],
    ['/no/such/page', 404, 'Not Found', 'GET /no/such/page'],
  ] as const) {
    const response = await app.get(path, JSON_ONLY);
    assert.equal(response.status, statusCode);
    assert.deepEqual(await response.json(), { statusCode, error, message });
  }
});

test('whoever takes a page as well, or does not say what, gets the page', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  for (const accept of [
    '*/*',
    'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'text/html, application/json',
    'text/plain',
    'nonsense;;;,q',
  ]) {
    const response = await app.get('/trigger-error/', { headers: { accept } });
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/, accept);
    assert.ok(eventIdOn(await response.text()), accept);
  }
});

test('a page answers what it does not do with 405 and with what it does', async (t) => {
  const app = await spawnApp(t);
  for (const [path, init] of [
    ['/my-view', { method: 'POST' }],
    ['/trigger-error', { method: 'DELETE' }],
    ['/trigger-error/?a=b', { method: 'PUT', body: 'a=b' }],
    ['/', { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } }],
    ['/my-view', { method: 'OPTIONS' }],
  ] as const) {
    const response = await app.get(path, init);
    assert.equal(response.status, 405, `${init.method} ${path}`);
    assert.deepEqual(response.headers.get('allow')?.split(', ').sort(), ['GET', 'HEAD']);
    assert.match(await response.text(), /<h1>405 Method Not Allowed<\/h1>/);
  }
  for (const path of ['/my-views', '/my-view/more', '/trigger-error/none']) {
    assert.equal((await app.get(path, { method: 'POST' })).status, 404, path);
  }
  assert.equal((await app.get('/my-view?seconds=0', { method: 'HEAD' })).status, 200);
});
