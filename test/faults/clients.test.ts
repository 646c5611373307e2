import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { startEnvelopeSink } from '../helpers/envelope-sink.ts';
import { eventually } from '../helpers/eventually.ts';
import { open, sendRaw, statusesOf } from '../helpers/raw.ts';
import { readSeries } from '../helpers/series.ts';
import { spawnApp } from '../helpers/spawn-app.ts';

/** An application, and the check that what it was sent has left no trace in it. */
async function startApp(t: TestContext) {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' });
  const labelValues = async () => {
    const series = [...(await readSeries(app.metricsUrl)).keys()];
    return new Set(
      series
        .filter((name) => /^(django|http)_/.test(name))
        .flatMap((name) => name.match(/(?:method|endpoint)="[^"]*"/g) ?? []),
    );
  };
  const known = await labelValues();
  for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'other']) {
    known.add(`method="${method}"`);
  }
  known.add('endpoint="unmatched"');

  return {
    app,
    async isUnharmed() {
      const response = await app.get('/my-view?seconds=0');
      assert.equal(response.status, 200, 'the next good request is answered');
      await eventually(async () => assert.equal(await app.metric('django_active_users'), 0));
      const added = [...(await labelValues())].filter((value) => !known.has(value));
      assert.deepEqual(added, [], 'no new label values');
      assert.deepEqual(
        app.log.filter(({ level }) => level >= 50),
        [],
        'no error in the log',
      );
      assert.equal(await app.stop(), 0);
      assert.equal(sink.items('event').length, 0, 'no event');
    },
  };
}

const get = (path: string, headers = 'Host: localhost\r\n') =>
  `GET ${path} HTTP/1.1\r\n${headers}\r\n`;
const post = (headers: string, body = '') =>
  `POST / HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${body}`;

const BAD_REQUESTS: [what: string, request: string, statuses: number[]][] = [
  ['broken percent-encoding', get('/%E0%A4%A'), [400]],
  ['a null byte in the address', get('/\0'), [400]],
  ['an encoded null byte', get('/%00'), [404]],
  ['a way out of the folder', get('/../../etc/passwd'), [404]],
  ['an address without a slash', get('no-slash'), [400]],
  ['an address of 8 KB', get(`/${'a'.repeat(8_000)}`), [404]],
  ['an address of 64 KB', get(`/${'a'.repeat(64_000)}`), [431]],
  ['a header of 64 KB', get('/', `Host: localhost\r\nX: ${'a'.repeat(64_000)}\r\n`), [431]],
  ['10,000 headers', get('/', `Host: localhost\r\n${'X: a\r\n'.repeat(10_000)}`), [431]],
  ['a null byte in a header', get('/', 'Host: localhost\r\nX: \0\r\n'), [400]],
  // Too large, too, but that is not what its sender has to know first.
  ['a body of 64 KB', post('Content-Type: application/json\r\nContent-Length: 64000\r\n'), [405]],
  ['a chunk without a size', post('Transfer-Encoding: chunked\r\n', 'no\r\n\r\n'), [400]],
  ['two lengths', post('Content-Length: 1\r\nContent-Length: 2\r\n', 'a'), [400]],
  [
    'a length and chunks',
    post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    [400],
  ],
  ['no Host', get('/', ''), [400]],
  ['two Hosts', get('/', 'Host: localhost\r\nHost: example.com\r\n'), [400]],
  ['an odd expectation', get('/', 'Host: localhost\r\nExpect: a-miracle\r\n'), [417]],
  ['a Host from elsewhere', get('/', 'Host: example.com\r\n'), [400]],
  ['an unknown method', 'BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n', [400]],
  ['a method without a route', 'PROPFIND / HTTP/1.1\r\nHost: localhost\r\n\r\n', [405]],
  ['CONNECT', 'CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n', [405]],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [400]],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
  ['HTTP/9.9', 'GET / HTTP/9.9\r\nHost: localhost\r\n\r\n', [400]],
];

test('bad requests get a clear 4xx or a closed connection, and leave no trace', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  for (const [what, request, statuses] of BAD_REQUESTS) {
    assert.deepEqual(statusesOf(await sendRaw(app.url, request)), statuses, what);
  }
  await isUnharmed();
});

test('old and hurried clients are served: HTTP/1.0, pipelining, HEAD, a Host in capitals', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  const http10 = 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n';
  assert.deepEqual(statusesOf(await sendRaw(app.url, http10)), [200]);
  assert.deepEqual(statusesOf(await sendRaw(app.url, get('/healthz').repeat(20))), [
    ...Array(20).fill(200),
  ]);
  const shouted = get('/', 'Host: LOCALHOST\r\n');
  assert.deepEqual(statusesOf(await sendRaw(app.url, shouted)), [200]);
  const head = await sendRaw(app.url, 'HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  assert.deepEqual(statusesOf(head), [200]);
  assert.ok(head.endsWith('\r\n\r\n'), 'no body');
  await isUnharmed();
});

test('1,000 clients that hang up in the middle leave nothing behind', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  for (let round = 0; round < 10; round++) {
    const connections = Array.from({ length: 100 }, () => open(app.url));
    for (const { socket } of connections) socket.write(get('/my-view?seconds=5'));
    await sleep(Math.random() * 100);
    for (const { socket } of connections) socket.resetAndDestroy();
  }
  const hungUp =
    'http_request_duration_seconds_count{method="GET",endpoint="/my-view",status_code="499"}';
  await eventually(async () =>
    assert.ok(((await app.metric(hungUp)) ?? 0) > 100, 'many were seen'),
  );
  await isUnharmed();
});

test('clients that send a byte a second are hung up on', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  const beginnings = {
    'the request line': '',
    'a header': 'GET / HTTP/1.1\r\nHost: localhost\r\nX: ',
    'a body': post('Content-Type: text/plain\r\nContent-Length: 1000\r\n'),
  };
  const clients = Object.entries(beginnings).map(async ([what, beginning]) => {
    const { socket, answer } = open(app.url);
    socket.write(beginning);
    const bytes = setInterval(() => socket.write('G'), 1_000);
    const ended = await Promise.race([answer, sleep(60_000, 'never', { ref: false })]);
    clearInterval(bytes);
    socket.destroy();
    assert.match(ended, /^HTTP\/1\.1 4\d\d /, what);
  });
  await Promise.all(clients);
  await isUnharmed();
});

test('5,000 silent connections do not keep others out, and are closed', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  const descriptors = async () => Number(await app.metric('process_open_fds'));
  const before = await descriptors();
  const connections: ReturnType<typeof open>[] = [];
  for (let i = 0; i < 50; i++) {
    const batch = Array.from({ length: 100 }, () => open(app.url));
    const [result] = await Promise.all(
      batch.map(({ socket }) => once(socket, 'connect').catch((error) => error)),
    );
    if (result.code === 'EMFILE') return t.skip('this machine allows too few open files');
    connections.push(...batch);
  }
  await eventually(
    async () => assert.ok((await descriptors()) > before + 4_000, 'all are open'),
    30,
  );
  assert.equal((await app.get('/')).status, 200);
  await Promise.race([
    Promise.all(connections.map(({ answer }) => answer)),
    sleep(60_000, undefined, { ref: false }),
  ]);
  assert.ok(connections.every(({ socket }) => socket.destroyed));
  await eventually(async () => assert.ok((await descriptors()) < before + 50, 'all are closed'));
  await isUnharmed();
});

/** Mostly what a server expects: else nothing comes past the parser. */
const mostly = (good: string[], bad: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: bad });
const noise = fc.string({ unit: 'binary-ascii', maxLength: 30 });

const method = mostly(['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'TRACE', 'LINK'], noise);
const path = fc.oneof(
  fc.constantFrom('//', '/my-view/..', '*', '/%', '/%2e%2e/', '/%00', 'http://localhost/none'),
  noise.map((text) => `/${text}`),
  noise.map((text) => `/${encodeURIComponent(text)}/none`),
  fc.webQueryParameters().map((query) => `/my-view?seconds=no&${query}`),
);
const version = mostly(['HTTP/1.1', 'HTTP/1.0'], fc.constantFrom('HTTP/2', 'http/1.1', ''));
const header = mostly(
  [
    'Host: localhost',
    'Host: example.com',
    'Content-Length: 5',
    'Transfer-Encoding: chunked',
    'Expect: 100-continue',
    'Upgrade: websocket\r\nConnection: Upgrade',
    'Connection: close',
    'Content-Type: application/json',
    'Cookie: visitor=; visitor=%',
    'traceparent: 00-0-0-0',
  ],
  fc.tuple(noise, noise).map(([name, value]) => `${name}: ${value}`),
);
const request = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(
      method,
      path,
      version,
      fc.array(header, { maxLength: 4 }),
      mostly([''], fc.oneof(noise, fc.json())),
    )
    .map(([method, path, version, headers, body]) =>
      Buffer.from(
        `${method} ${path} ${version}\r\n${['Host: localhost', ...headers].join('\r\n')}\r\n\r\n${body}`,
      ),
    ),
);

test('20,000 requests made of nonsense: never a 5xx, and the next good one is answered', async (t) => {
  const { app, isUnharmed } = await startApp(t);
  const seen = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 100, maxLength: 100 }),
      async (requests: Buffer[]) => {
        const answers = await Promise.all(requests.map((bytes) => sendRaw(app.url, bytes)));
        for (const status of answers.flatMap(statusesOf)) {
          seen.set(status, (seen.get(status) ?? 0) + 1);
          assert.ok(status < 500, `answered with ${status}`);
        }
        assert.equal((await app.get('/healthz')).status, 200);
      },
    ),
    // The report of a failure names the seed; to shrink a hundred requests takes too long.
    { numRuns: 200, endOnFailure: true },
  );
  t.diagnostic([...seen].map(([status, count]) => `${status}: ${count}`).join(', '));
  await isUnharmed();
});
