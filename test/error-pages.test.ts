/** What a client gets that asks for JSON, or for what a page does not do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { ask, statusesOf } from './helpers/raw.ts';
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
    ['/my-view?seconds=x', 400, 'Bad Request', 'seconds takes a number from 0 to 10.'],
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

test('it does so in whatever form the address is written', async (t) => {
  const app = await spawnApp(t);
  for (const [line, status] of [
    ['POST http://localhost/', 405],
    ['POST http://localhost/my-view?seconds=0', 405],
    ['POST /my%2dview', 405],
    ['POST /my%2Dview/', 405],
    ['POST /#fragment', 405],
    ['POST /my-view#fragment', 405],
    ['QUERY /', 405],
    ['QUERY http://localhost/my-view', 405],
    ['GET /my%2dview?seconds=0', 200],
    ['GET http://localhost/', 200],
    ['POST http://localhost/none', 404],
    ['POST /my%2fview', 404],
    ['POST /%zz', 400],
    ['QUERY /none', 404],
  ] as const) {
    const answer = await ask(app.url, `${line} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    assert.deepEqual(statusesOf(answer), [status], line);
    if (status === 405) assert.match(answer, /^allow: (GET, HEAD|HEAD, GET)\r$/m, line);
  }
});

test('a refused number is named on the page with what it takes, and only digits are numbers', async (t) => {
  const app = await spawnApp(t);
  const visit = (path: string) => app.get(path, { headers: { 'accept-language': 'ru' } });
  const odd = ['11', '-1', '', 'x', '%20', '0x1', '0b1', '1e0', '1e400', 'Infinity', 'true', '5.'];
  for (const seconds of [...odd, '9'.repeat(400), '1&seconds=2', '%2B1', '%201', '1%0a']) {
    for (const page of ['/my-view', '/trigger-error/other/']) {
      const response = await visit(`${page}?seconds=${seconds}`);
      assert.equal(response.status, 400, seconds);
      const html = await response.text();
      assert.match(html, /<dd><code>seconds<\/code><\/dd>/, seconds);
      assert.match(html, /<dd>0 – 10<\/dd>/, seconds);
      assert.doesNotMatch(html, /querystring|must/, seconds);
    }
  }
  for (const seconds of ['0', '0.01', '.01', '00.0', '-0']) {
    assert.equal((await visit(`/my-view?seconds=${seconds}`)).status, 200, seconds);
  }
});

test('a visitor whose error is no event gets the id that finds it in the log, and why', async (t) => {
  const sink = await startEnvelopeSink(t);
  const dropping = { SENTRY_DSN: sink.dsn, DROP_EVENTS: 'yes' };
  for (const [settings, why, guide] of [
    [{}, 'Sentry is off', 'Sentry is off: errors are only logged.'],
    [dropping, 'It was not reported to the tracker.', 'None of your errors has been reported yet.'],
  ] as const) {
    const app = await spawnApp(t, settings, 'test/fixtures/failing-server.js');
    const html = await (await app.get('/trigger-error/')).text();
    assert.ok(html.includes(why), html);
    assert.equal(html.includes('Sentry is off'), why === 'Sentry is off');
    const [, traceId] = /id="trace-id">([0-9a-f]{32})</.exec(html) ?? [];
    await eventually(() => {
      const line = app.log.find(({ msg }) => msg === 'request failed');
      assert.equal(line?.trace_id, traceId);
    });
    const [, step = ''] = (await (await app.get('/')).text()).split('<article id="trigger-error"');
    assert.ok(step.split('</article>')[0]?.includes(guide), why);
  }
});
