import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressOf, hostOf, pathOf } from '../src/monitoring/request-url.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { ask, sendRaw, statusesOf } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const SECRET = 'correct-horse';

for (const [what, host, url, address, path] of [
  ['a path', 'shop:8000', '/a?b=c', 'http://shop:8000/a?b=c', '/a'],
  ['a whole address', 'shop', 'http://shop/a?b=c', 'http://shop/a?b=c', '/a'],
  ['a whole address elsewhere', 'shop', 'http://other:81/a', 'http://other:81/a', '/a'],
  ['a whole address alone', 'shop', 'HTTP://shop', 'http://shop/', '/'],
  ['a query alone', 'shop', 'http://shop?b=c', 'http://shop/?b=c', '/'],
  ['a user and a password', 'shop', `http://me:${SECRET}@shop/a`, 'http://shop/a', '/a'],
  ['two of them', 'shop', `http://me:${SECRET}@${SECRET}@shop/a`, 'http://shop/a', '/a'],
  ['them in another scheme', 'shop', `ftp://me:${SECRET}@shop/a`, 'http://shop/a', '/a'],
  ['them and no host', 'shop', `http://me:${SECRET}@/a`, '/a', '/a'],
  ['them in the Host', `me:${SECRET}@shop`, '/a', '/a', '/a'],
  ['no host', '', '/a', '/a', '/a'],
  ['no host, and a whole address', '', 'http://shop/a', 'http://shop/a', '/a'],
  ['a fragment', 'shop', '/a#b?c', 'http://shop/a', '/a'],
  ['two slashes', 'shop', '//other/a', 'http://shop//other/a', '//other/a'],
  ['another address in the query', 'shop', '/?to=http://a@b/', 'http://shop/?to=http://a@b/', '/'],
  ['the server itself', 'shop', '*', 'http://shop/', '*'],
  ['IPv6', '[::1]:8000', '/a', 'http://[::1]:8000/a', '/a'],
] as const) {
  test(`one address, and no credentials: ${what}`, () => {
    const request = { protocol: 'http', host, url };
    assert.equal(addressOf(request), address);
    assert.equal(pathOf(request), path);
  });
}

test('an address has the scheme of a page, whatever a proxy passes on', () => {
  for (const protocol of ['https', 'http']) {
    const request = { protocol, host: 'shop', url: '/a' };
    assert.equal(addressOf(request), `${protocol}://shop/a`);
  }
  for (const protocol of ['javascript', 'http://evil/?', 'https, http', 'HTTPS ', '<b>', '']) {
    assert.equal(addressOf({ protocol, host: 'shop', url: '/a' }), '/a', protocol);
  }
});

test('a host is exactly a name, or a name and a port', () => {
  const nameOf = (host: string) => hostOf({ protocol: 'http', host, url: '/' })?.name;
  for (const [host, name] of [
    ['localhost', 'localhost'],
    ['LocalHost:8000', 'localhost'],
    ['127.0.0.1:65535', '127.0.0.1'],
    ['[::1]', '[::1]'],
    ['[2001:DB8::1]:80', '[2001:db8::1]'],
    ['my_app', 'my_app'],
    ['localhost.', 'localhost.'],
  ] as const) {
    assert.equal(nameOf(host), name);
  }
  for (const host of ODD_HOSTS) assert.equal(nameOf(host), undefined, host);
});

const ODD_HOSTS = [
  ...['localhost:80@evil.example', 'localhost:evil/x?y#z', 'localhost/', 'localhost?x', 'a#b'],
  ...['localhost:', 'localhost:-1', 'localhost:99999', 'localhost:8x', 'localhost:80:80', ':80'],
  ...['[::1', '::1', '[::1]x', '[::1]:', '[evil]', 'localhost,evil', 'local host', 'a..b', '.a'],
  ...['http://localhost', '\\localhost', 'localhost%00', '<script>', "'", ''],
];

test('whatever comes, the address has one scheme, one host and no user', () => {
  const part = fc.constantFrom(
    'http',
    '://',
    ':',
    '/',
    '@',
    '?',
    '#',
    'a',
    '.',
    '[::1]',
    '*',
    '80',
  );
  const text = fc.array(part, { maxLength: 10 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, text, (host, url) => {
      const request = { protocol: 'http', host, url };
      assert.match(addressOf(request), /^(http:\/\/[^/?#@]+)?\/[^#]*$/);
      assert.match(pathOf(request), /^(\/[^?#]*|\*)$/);
    }),
  );
});

test('events, traces and log lines have that address, whatever the request line says', async (t) => {
  const sink = await startEnvelopeSink(t);
  const settings = { SENTRY_DSN: sink.dsn, ALLOWED_HOSTS: '*' };
  const app = await spawnApp(t, settings);
  const visit = async (target: string, rest: string) =>
    assert.deepEqual(statusesOf(await ask(app.url, `GET ${target} HTTP/1.${rest}`)), [500]);
  await visit('/trigger-error/', '1\r\nHost: shop:8000\r\n\r\n');
  await visit('http://shop:8000/trigger-error/', '1\r\nHost: shop:8000\r\n\r\n');
  await visit(`http://me:${SECRET}@shop:8000/trigger-error/`, '1\r\nHost: shop:8000\r\n\r\n');
  await visit('/trigger-error/', '0\r\n\r\n');
  await sendRaw(app.url, `GET ftp://me:${SECRET}@shop/ HTTP/1.1\r\nHost: shop\r\n\r\n`);
  await sendRaw(app.url, `GET http://me:${SECRET}@shop/%E0 HTTP/1.1\r\nHost: shop\r\n\r\n`);
  await app.stop();

  const addresses = sink.items('event').map(({ request }) => request.url);
  const whole = 'http://shop:8000/trigger-error/';
  assert.deepEqual(addresses.sort(), ['/trigger-error/', whole, whole, whole]);
  const paths = sink.items('transaction').map(({ contexts }) => contexts.trace.data['url.path']);
  assert.deepEqual(paths.slice(0, 4), Array(4).fill('/trigger-error/'));
  const incoming = app.log.filter(({ msg }) => msg === 'incoming request');
  const logged = incoming.map(({ req }) => (req as { path: string }).path);
  assert.deepEqual(logged, [...Array(4).fill('/trigger-error/'), '/', '/%E0']);
  assert.ok(!JSON.stringify([sink.raw, app.log]).includes(SECRET));
});

test('a request has one Host, or none with HTTP/1.0, under whatever name', async (t) => {
  const app = await spawnApp(t, { ALLOWED_HOSTS: '*' });
  const get = (path: string, rest: string) => `GET ${path} HTTP/1.${rest}\r\n`;
  for (const path of ['/', '/healthz', 'http://shop/']) {
    for (const [request, status] of [
      [get(path, '1\r\nHost: shop\r\nHost: evil\r\n'), 400],
      [get(path, '1\r\nHost: shop\r\nhost: shop\r\n'), 400],
      [get(path, '1\r\nHost: shop, evil\r\n'), 400],
      [get(path, '1\r\n'), 400],
      [get(path, '1\r\nHost: shop\r\n'), 200],
      [get(path, '0\r\n'), 200],
    ] as const) {
      assert.deepEqual(statusesOf(await ask(app.url, request)), [status], request);
    }
  }
});

test('pages are served under the names of ALLOWED_HOSTS alone, with any port or none', async (t) => {
  const app = await spawnApp(t, { ALLOWED_HOSTS: 'shop,[::1]' });
  const any = await spawnApp(t, { ALLOWED_HOSTS: '*' });
  const askFor = async (
    { url }: { url: string },
    target: string,
    host: string,
    version = '1.1',
  ) => {
    const answer = await sendRaw(url, `GET ${target} HTTP/${version}\r\nHost: ${host}\r\n\r\n`);
    return statusesOf(answer)[0];
  };
  for (const host of ['shop', 'SHOP:8000', '[::1]:8000']) {
    assert.equal(await askFor(app, '/', host), 200, host);
    assert.equal(await askFor(app, `http://${host}/`, host), 200, host);
  }
  const odd = ODD_HOSTS.map((host) => host.replaceAll('localhost', 'shop'));
  for (const host of [...odd, 'shop.', 'shop.evil.example', 'evil']) {
    assert.equal(await askFor(app, '/', host), 400, host);
    assert.equal(await askFor(app, '/', host, '1.0'), 400, host);
    const isOne = !host.includes(',');
    assert.equal(await askFor(app, '/healthz', host), isOne ? 200 : 400, 'probes come with any');
    const isOdd = odd.includes(host) && host !== '';
    assert.equal(await askFor(any, '/', host), isOdd ? 400 : 200, `${host} with *`);
  }
  assert.equal(await askFor(app, 'http://evil/', 'shop'), 400, 'the target counts');
  assert.equal(await askFor(app, 'http://shop/', 'evil'), 200, 'the target counts');
});
