import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { startEnvelopeSink } from '../helpers/envelope-sink.ts';
import { ask } from '../helpers/raw.ts';
import { spawnApp } from '../helpers/spawn-app.ts';

/** Names and versions of what the application is made of, its files, and its errors. */
const DISCLOSURE =
  /fastify|FST_|node\.?js|v\d+\.\d+\.\d+|x-powered-by|node_modules|\.[jt]s:\d|\bat \S+ \(|Division by zero|not JSON/i;

const POLICY =
  "default-src 'none';style-src 'self';img-src data:;base-uri 'none';form-action 'none';frame-ancestors 'none'";

const request = (path: string, rest = 'Host: localhost\r\n\r\n') =>
  `GET ${path} HTTP/1.1\r\n${rest}`;

test('no answer names what the application is made of, or an error of its own', async (t) => {
  const app = await spawnApp(t, {}, 'test/fixtures/failing-server.js');
  const requests: Record<string, string> = {
    'a page': request('/my-view?seconds=0'),
    'a 500': request('/trigger-error/'),
    'a 500 of another kind': request('/trigger-error/other/?seconds=0'),
    'a view that fails': request('/fail/view'),
    'a 404': request('/no/such/page'),
    'a bad value': request('/my-view?seconds=x'),
    'a bad address': request('/%E0%A4%A'),
    'a bad Host': request('/', 'Host: example.com\r\n\r\n'),
    'a request that is not HTTP': 'nonsense\r\n\r\n',
    'a header that is too big': request('/', `Host: localhost\r\nX: ${'a'.repeat(64_000)}\r\n\r\n`),
    'a body that is too big':
      'POST /fail/after-body HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
      `Content-Length: 64000\r\n\r\n${'a'.repeat(64_000)}`,
    'a body that cannot be read':
      'POST /fail/after-body HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n' +
      'Content-Length: 1\r\n\r\n{',
  };
  for (const [what, bytes] of Object.entries(requests)) {
    const answer = await ask(app.url, bytes);
    assert.match(answer, /^HTTP\/1\.1 [245]\d\d /, what);
    assert.doesNotMatch(answer, DISCLOSURE, what);
  }
});

test('when the error page itself fails, the answer says no more than that', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'broken-views-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const name of ['dist', 'views', 'package.json']) {
    cpSync(name, join(folder, name), { recursive: true });
  }
  // What else the application reads: its dependencies, and the files that the guide quotes.
  for (const name of readdirSync('.').filter((name) => !existsSync(join(folder, name)))) {
    symlinkSync(resolve(name), join(folder, name));
  }
  for (const view of ['server-error.eta', 'client-error.eta', 'not-found.eta']) {
    writeFileSync(join(folder, 'views', view), '<%= it.no.such.property %>');
  }
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, join(folder, 'dist/server.js'));
  for (const [path, status] of [
    ['/trigger-error/', 500],
    ['/my-view?seconds=x', 400],
    ['/no/such/page', 404],
  ] as const) {
    const response = await app.get(path);
    assert.equal(response.status, status, path);
    assert.doesNotMatch(await response.text(), /Cannot read|undefined|broken-views/, path);
  }
  assert.equal(await app.stop(), 0);
  const pages = sink
    .items('event')
    .filter(({ exception }) => /no\.such|reading 'such'/.test(exception.values.at(-1).value));
  assert.equal(pages.length, 3, 'each failure of a page is an event');
});

test('every answer has the headers that bind a browser, without any unsafe-inline', async (t) => {
  const app = await spawnApp(t);
  for (const path of ['/', '/trigger-error/', '/no/such/page', '/style.css', '/%E0%A4%A']) {
    const { headers } = await app.get(path);
    assert.equal(headers.get('content-security-policy'), POLICY, path);
    assert.equal(headers.get('x-content-type-options'), 'nosniff', path);
    assert.equal(headers.get('referrer-policy'), 'no-referrer', path);
    assert.equal(headers.get('x-powered-by'), null, path);
  }
  const html = await (await app.get('/')).text();
  assert.doesNotMatch(html, /<script|<style|style="|\son\w+="/, 'nothing that the policy forbids');
});

test('what a visitor sends comes back as text', async (t) => {
  const app = await spawnApp(t);
  const markup = '<img src=x onerror=alert(1)>"\'&';
  for (const path of [`/${markup}`, `/my-view?seconds=${markup}`, `/?next=${markup}`]) {
    const answer = await ask(app.url, request(path.replaceAll(' ', '%20')));
    assert.doesNotMatch(answer, /<img/, path);
  }
});

test('too many errors of one client are refused with 429, and are no events', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, ERRORS_PER_SECOND: '5' });
  const visits = await Promise.all(Array.from({ length: 200 }, () => app.get('/trigger-error/')));
  const answered = (status: number) => visits.filter((visit) => visit.status === status);
  assert.equal(answered(500).length + answered(429).length, 200);
  assert.ok(answered(429).length > 0);
  for (const { headers } of answered(429)) assert.ok(Number(headers.get('retry-after')) >= 1);
  assert.equal((await app.get('/my-view?seconds=0')).status, 200, 'other pages are not limited');
  assert.equal(await app.stop(), 0);
  assert.equal(sink.items('event').length, answered(500).length);
});
