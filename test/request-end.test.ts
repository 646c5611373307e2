/** How a request ended: once, and with a status that says whose doing it was. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { CONFORMANCE_SERVER, startCases } from './helpers/cases.ts';
import { eventually } from './helpers/eventually.ts';
import { samplesOf } from './helpers/exposition.ts';
import { ask, open, sendRaw } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

interface App {
  metricsUrl: string;
}

/** How many requests to an endpoint have ended with each status. */
async function endsOf({ metricsUrl }: App, endpoint: string): Promise<Record<string, number>> {
  const samples = samplesOf(await (await fetch(metricsUrl)).text());
  const counts = samples.filter(
    ({ name, labels, value }) =>
      name === 'http_request_duration_seconds_count' && labels.endpoint === endpoint && value > 0,
  );
  return Object.fromEntries(counts.map(({ labels, value }) => [labels.status_code, value]));
}

const assertEnds = (app: App, endpoint: string, expected: Record<string, number>) =>
  eventually(async () => assert.deepEqual(await endsOf(app, endpoint), expected));

const request = (path: string, headers = '') =>
  `GET ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`;

/** Asks for many pages at once over one connection, and leaves when the first has begun. */
async function leaveInTheQueue(t: TestContext) {
  const app = await spawnApp(t, { ALLOWED_HOSTS: 'test' });
  const { socket } = open(app.url);
  socket.write(request('/my-view?seconds=1').repeat(30));
  await eventually(async () => assert.ok(Number(await app.metric('django_active_users')) > 1));
  socket.destroy();
  return app;
}

test('requests that wait for their turn end when their client leaves', async (t) => {
  const app = await leaveInTheQueue(t);
  await eventually(async () => assert.equal(await app.metric('django_active_users'), 0));
});

test('a stop does not wait for requests whose client has left the queue', async (t) => {
  const app = await leaveInTheQueue(t);
  // A silent connection: it keeps the server open until the drain hangs up.
  await once(open(app.url).socket, 'connect');
  assert.equal(await app.stop(), 0);
  assert.deepEqual(
    app.log.filter(({ msg }) => msg.startsWith('hanging up')),
    [],
  );
});

test('over HTTP/1.1', async (t) => {
  const app = await startCases(t);

  await t.test('a client that leaves before the answer is a 499', async () => {
    const { socket } = open(app.url);
    socket.write(request('/slow'));
    await once(socket, 'data');
    socket.destroy();
    await assertEnds(app, '/slow', { 499: 1 });
  });

  await t.test('requests that wait for their turn are each a 499', async () => {
    const { socket } = open(app.url);
    socket.write(request('/slow').repeat(10));
    await once(socket, 'data');
    socket.destroy();
    await assertEnds(app, '/slow', { 499: 11 });
  });

  await t.test('a request that waits, and has not sent all of its body, is a 499', async () => {
    const { path } = app.caseOf('told in a handler after a body');
    const { socket } = open(app.url);
    const headers = 'Host: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n';
    socket.write(`${request('/slow')}POST ${path} HTTP/1.1\r\n${headers}\r\n{`);
    await once(socket, 'data');
    socket.destroy();
    await assertEnds(app, path, { 499: 1 });
  });

  await t.test('an upload whose client says goodbye is a 499, and nothing else', async () => {
    const { path } = app.caseOf('told in a stream parser');
    const { socket } = open(app.url);
    const headers = 'Host: test\r\nContent-Type: application/custom\r\nContent-Length: 9\r\n';
    socket.end(`POST ${path} HTTP/1.1\r\n${headers}\r\n{`);
    await assertEnds(app, path, { 499: 1 });
    assert.deepEqual(await endsOf(app, 'unmatched'), {});
    // What is reported later comes later.
    const failing = app.caseOf('thrown in a handler');
    await app.ask(failing);
    const transactions = () => app.sink.items('event').map(({ transaction }) => transaction);
    await eventually(() => assert.deepEqual(transactions(), [`GET ${failing.path}`]));
  });

  for (const [name, status] of Object.entries({
    'a 404 by callNotFound': 404,
    'a handler that times out': 503,
    'a response that the application destroys': 500,
    'a stream that lasts longer than its handler may': 500,
    'a Node stream that fails': 500,
    'a web stream that fails': 500,
    'a Response whose stream fails': 500,
    'a stream that the visitor leaves': 499,
    'thrown after the visitor left': 499,
    'told in onTimeout': 500,
    'told after reply hijack': 200,
  })) {
    await t.test(`${name} is a ${status}`, async () => {
      const one = app.caseOf(name);
      await app.ask(one);
      await assertEnds(app, one.path, { [status]: 1 });
    });
  }

  await t.test('app.inject ends with its status', async () => {
    const { path } = app.caseOf('nothing at all');
    assert.deepEqual(JSON.parse(await app.control(`inject?path=${path}`)), { statusCode: 200 });
    await assertEnds(app, path, { 200: 1 });
  });

  await t.test('a change of protocol is no slow request, and no 499', async () => {
    for (let n = 0; n < 5; n++) {
      const { socket, answer } = open(app.url);
      socket.write(request('/socket', 'Connection: Upgrade\r\nUpgrade: test\r\n'));
      await once(socket, 'data');
      socket.write('bye');
      assert.match(await answer, / 101 /);
    }
    const { path } = app.caseOf('captureMessage');
    await app.get(path);
    await assertEnds(app, path, { 200: 1 });
    const statuses = Object.keys(await endsOf(app, '/socket'));
    assert.deepEqual(
      statuses.filter((status) => status !== '101'),
      [],
    );
  });
});

test('over HTTP/2', async (t) => {
  const app = await spawnApp(t, { HTTP2: 'yes' }, CONFORMANCE_SERVER);
  const session = connectHttp2(app.url);
  t.after(() => session.destroy());
  const statusOf = async (path: string) => {
    const [headers] = await once(session.request({ ':path': path }).resume(), 'response');
    return headers[':status'];
  };

  await t.test('an answer ends with its status', async () => {
    assert.equal(await statusOf('/nothing-at-all'), 200);
    await assertEnds(app, '/nothing-at-all', { 200: 1 });
  });

  await t.test('an answer that failed is a 500', async () => {
    assert.equal(await statusOf('/thrown-in-a-handler'), 500);
    await assertEnds(app, '/thrown-in-a-handler', { 500: 1 });
  });

  await t.test('a request that was cancelled is a 499', async () => {
    const cancelled = session.request({ ':path': '/slow' }).on('error', () => {});
    // When this is answered, that has begun.
    assert.equal(await statusOf('/captureMessage'), 200);
    cancelled.close(constants.NGHTTP2_CANCEL);
    await assertEnds(app, '/slow', { 499: 1 });
  });
});

test('a client that does not send its body in time is a 408', async (t) => {
  const app = await startCases(t, { CONNECTION_TIMEOUT: '200' });
  const headers = 'Host: test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n';
  const { path } = app.caseOf('told in a handler after a body');
  const { socket, answer } = open(app.url);
  socket.write(`POST ${path} HTTP/1.1\r\n${headers}\r\n{`);
  assert.equal(await answer, '');
  await assertEnds(app, path, { 408: 1 });
});

test('a request whose route is found late is counted once', async (t) => {
  const app = await startCases(t, { LATE_ROUTING: 'yes' });
  for (const path of ['/nothing-at-all', '/%zz']) await app.get(path);
  await assertEnds(app, '/nothing-at-all', { 200: 1 });
  assert.deepEqual(await endsOf(app, 'unmatched'), { 400: 1 });
});

const REFUSED = {
  'an address that cannot be decoded': [request('/%zz', 'Connection: close\r\n'), 400],
  'what is no HTTP': ['NONSENSE\r\n\r\n', 400],
  'headers that are too large': [request('/', `A: ${'a'.repeat(20_000)}\r\n`), 431],
  'headers that do not come in time': ['GET / HTTP/1.1\r\n', 408],
} as const;

test('what is refused before any hook is counted', async (t) => {
  const app = await startCases(t, { HEADERS_TIMEOUT: '2000' });
  const seen: Record<string, number> = {};
  for (const [what, [bytes, status]] of Object.entries(REFUSED)) {
    await t.test(`${what}: a ${status}, under labels that nobody chose`, async () => {
      assert.match(await ask(app.url, bytes), new RegExp(` ${status} `));
      seen[status] = (seen[status] ?? 0) + 1;
      await assertEnds(app, 'unmatched', seen);
    });
  }

  await t.test('a connection that is opened and closed is no request', async () => {
    await sendRaw(app.url, '');
    await app.get('/nothing-at-all');
    await assertEnds(app, '/nothing-at-all', { 200: 1 });
    assert.deepEqual(await endsOf(app, 'unmatched'), seen);
  });
});
