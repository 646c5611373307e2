/** Between the application and the tracker is a proxy, which both can fail. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { eventIds, load } from '../helpers/load.ts';
import { spawnApp, spawnServer } from '../helpers/spawn-app.ts';
import { startTracker } from '../helpers/tracker.ts';

/** A proxy that connects, and can be told to say nothing, or to refuse. */
async function startProxy(t: TestContext) {
  const sockets = new Set<Socket>();
  const seen = { tunnels: 0, connections: 0, login: '' };
  let mode: 'connect' | 'never' | 'refuse' = 'connect';
  const server = createServer();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket.on('error', () => {}));
    socket.on('close', () => sockets.delete(socket));
    seen.connections = Math.max(seen.connections, sockets.size);
  });
  server.on('connect', ({ url = '', headers }, socket: Socket) => {
    seen.tunnels += 1;
    seen.login = headers['proxy-authorization'] ?? '';
    // It notices, at least, when the other side has hung up.
    if (mode === 'never') return socket.on('end', () => socket.destroy()).resume();
    if (mode === 'refuse') return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
    const { hostname, port } = new URL(`http://${url}`);
    const target = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(target).pipe(socket);
    });
    target.on('error', () => socket.destroy());
    socket.on('close', () => target.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    answer(how: typeof mode) {
      mode = how;
    },
  };
}

const errors = async (url: string, count: number) =>
  eventIds(await load(() => `${url}/trigger-error/`, { connections: 50, requests: count }));

const settings = { SENTRY_TRACES_SAMPLE_RATE: '0', ERRORS_PER_SECOND: '1000000' };

for (const fault of ['never', 'refuse'] as const) {
  test(`a proxy that ${fault === 'never' ? 'never answers' : 'refuses'}: connections are bounded, and everything arrives when it is back`, async (t) => {
    const [tracker, proxy] = [await startTracker(t), await startProxy(t)];
    proxy.answer(fault);
    const app = await spawnApp(t, {
      ...settings,
      SENTRY_DSN: tracker.dsn,
      http_proxy: `http://user:pass%20word@127.0.0.1:${proxy.port}`,
    });
    const captured = await errors(app.url, 200);
    await eventually(() => assert.ok(proxy.seen.tunnels > 1, 'it is tried again'), 60);
    assert.equal(tracker.seen.requests, 0);
    proxy.answer('connect');
    await eventually(() => assert.equal(tracker.delivered.events.size, 200), 120);
    assert.deepEqual([...tracker.delivered.events].sort(), captured.sort());
    assert.ok(proxy.seen.connections <= 10, `${proxy.seen.connections} connections`);
    assert.equal(proxy.seen.login, `Basic ${Buffer.from('user:pass word').toString('base64')}`);
  });
}

test('a tracker that speaks TLS is reached through a proxy', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'certificate-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  const request = 'req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost';
  const names = ['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert];
  const made = spawnSync('openssl', [...request.split(' '), ...names]);
  if (made.status !== 0) return t.skip('openssl is not installed');

  const proxy = await startProxy(t);
  let requests = 0;
  const tracker = createSecureServer(
    { key: readFileSync(key), cert: readFileSync(cert) },
    (request, response) => {
      request.resume();
      requests += 1;
      response.end('{}');
    },
  );
  await once(tracker.listen(0), 'listening');
  t.after(() => tracker.close().closeAllConnections());
  const { port } = tracker.address() as AddressInfo;
  const app = await spawnApp(t, {
    ...settings,
    SENTRY_DSN: `https://0123456789abcdef@localhost:${port}/1`,
    NODE_EXTRA_CA_CERTS: cert,
    https_proxy: `http://127.0.0.1:${proxy.port}`,
  });
  await errors(app.url, 1);
  await eventually(() => assert.equal(requests, 1));
  assert.equal(proxy.seen.tunnels, 1);
});

test('no_proxy keeps the tracker from being reached through the proxy', async (t) => {
  const [tracker, proxy] = [await startTracker(t), await startProxy(t)];
  const app = await spawnApp(t, {
    ...settings,
    SENTRY_DSN: tracker.dsn,
    http_proxy: `http://127.0.0.1:${proxy.port}`,
    no_proxy: 'example.com, 127.0.0.1',
  });
  await errors(app.url, 1);
  await eventually(() => assert.equal(tracker.delivered.events.size, 1));
  assert.equal(proxy.seen.tunnels, 0);
});

test('a proxy that is no address is refused at the start by name, without a stack', async () => {
  const noAddresses = ['proxy:3128', '10.0.0.1:3128', 'proxy', 'http://user:pass%word@proxy:3128'];
  for (const http_proxy of noAddresses) {
    const child = spawnServer({ SENTRY_DSN: 'http://key@127.0.0.1:9/1', http_proxy });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    assert.deepEqual(await once(child, 'close'), [1, null]);
    assert.match(stderr, /^http_proxy .*http:\/\/HOST:PORT\.\n$/);
    assert.doesNotMatch(stderr, /pass%/);
  }
});
