/** Sentry's own normalizer, which every event passes there, has nothing to remark in this one's. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { readConfig } from '../src/config.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { sendRaw } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const python = (program: string, input = '') =>
  spawnSync('python3', ['-c', program], { input, encoding: 'utf8', maxBuffer: 2 ** 28 });
const options = {
  skip: python('import sentry_relay').status !== 0 && 'the Python package sentry-relay is missing',
};

interface Payload {
  [field: string]: unknown;
  errors?: unknown[];
  _meta?: unknown;
}

/** What Sentry stores of payloads. Its remarks are in `errors` and `_meta`. */
function normalize(payloads: object[]): Payload[] {
  const { stdout, stderr } = python(
    `
import json, sys
from sentry_relay.processing import StoreNormalizer
normalizer = StoreNormalizer(project_id=1, is_renormalize=False, remove_other=True)
print(json.dumps([normalizer.normalize_event(payload) for payload in json.load(sys.stdin)]))`,
    JSON.stringify(payloads),
  );
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}

test('events and traces of every kind are stored as they are', options, async (t) => {
  const sink = await startEnvelopeSink(t);
  const settings = { SENTRY_DSN: sink.dsn, ALLOWED_HOSTS: '*', SENTRY_RELEASE: 'shop@1.0.0' };
  const app = await spawnApp(t, settings, 'test/fixtures/failing-server.js');
  const [visitor] = (await app.get('/')).headers.getSetCookie();
  const headers = { cookie: visitor?.split(';')[0] ?? '' };
  for (const path of [
    ...['/trigger-error/', '/trigger-error/other/?seconds=0', '/my-view?seconds=0', '/no/page'],
    ...['/fail/string', '/fail/null', '/fail/cause', '/fail/view', '/fail/odd/frozen'],
    ...['/fail/odd/proxy', '/fail/odd/symbol', '/leave-traces'],
  ]) {
    await app.get(path, { headers });
  }
  await sendRaw(app.url, 'GET http://me:secret@shop:81/fail/handler HTTP/1.1\r\nHost: a\r\n\r\n');
  await sendRaw(app.url, 'GET /fail/handler HTTP/1.0\r\n\r\n');
  await app.stop();

  const sent = [...sink.items('event'), ...sink.items('transaction')];
  assert.ok(sent.length > 15);
  for (const [index, stored] of normalize(sent).entries()) {
    const what = JSON.stringify(sent[index].request ?? sent[index].transaction);
    assert.deepEqual(stored.errors ?? [], [], what);
    assert.equal(stored._meta ?? undefined, undefined, what);
    for (const field of ['event_id', 'release', 'environment', 'transaction']) {
      assert.equal(stored[field], sent[index][field], field);
    }
  }
});

test('every release and environment that the settings take is stored as it is', options, () => {
  const part = fc.oneof(
    fc.constantFrom(
      '.',
      'latest',
      'none',
      'LATEST',
      ' ',
      '/',
      '\\',
      '@',
      '\t',
      '\x7f',
      '\x85',
      'é',
    ),
    fc.string({ unit: 'binary', maxLength: 4 }),
    fc.constantFrom('x'.repeat(63), 'é'.repeat(32), 'x'.repeat(199)),
  );
  const names = fc.sample(
    fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('')),
    { numRuns: 2000 },
  );
  for (const [setting, field] of [
    ['SENTRY_RELEASE', 'release'],
    ['SENTRY_ENVIRONMENT', 'environment'],
  ] as const) {
    const taken = names.filter((name) => {
      try {
        return readConfig({ [setting]: name });
      } catch {
        return false;
      }
    });
    assert.ok(taken.length > 100, `${taken.length} were taken`);
    const event = { event_id: 'a'.repeat(32), platform: 'node', message: 'x' };
    const stored = normalize(taken.map((name) => ({ ...event, [field]: name })));
    assert.deepEqual(
      stored.map((event) => event[field]),
      taken,
    );
  }
});
