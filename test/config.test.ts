import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { ConfigError, readConfig } from '../src/config.ts';
import { spawnServer } from './helpers/spawn-app.ts';

test('without any variable the settings are the documented defaults', () => {
  const { PORT, METRICS_PORT, HOST, SENTRY_DSN, ...config } = readConfig({ UNRELATED: 'x' });
  assert.deepEqual([PORT, METRICS_PORT, HOST, SENTRY_DSN], [8000, 9464, '127.0.0.1', '']);
  assert.equal(config.SENTRY_ENVIRONMENT, 'production', "the SDK's default");
  assert.equal(config.SENTRY_TRACES_SAMPLE_RATE, 1, "the article's");
  assert.ok(!('UNRELATED' in config));
});

const KEY = '0123456789abcdef0123456789abcdef';
/** What JavaScript converts to a number, though nobody means one. */
const ODD_NUMBERS = ['', ' ', 'Infinity', 'NaN', '1e400', '0x1F', '+1', ' 1', 'x', '-1'];
const ODD_NAMES = ['', '.', '..', 'a b', 'a/b', 'a\\b', 'a\nb', '\u2028'];

/** Values of each setting that are valid, and values that are not. */
const CASES: [name: string, valid: string[], invalid: string[]][] = [
  ['PORT', ['0', '65535'], [...ODD_NUMBERS, '65536', '80.5']],
  ['METRICS_PORT', ['1'], ['tcp://10.43.0.1:9464']],
  ['HOST', ['0.0.0.0', '::', 'fe80::1%lo', 'my_host'], ['', ' ', 'http://localhost', '*']],
  ['LOG_LEVEL', ['silent'], ['', 'verbose', 'toString']],
  [
    'SENTRY_DSN',
    [
      '',
      `https://${KEY}@o123.ingest.de.sentry.io/456`,
      `http://${KEY}@bugsink:8000/some/path/1`,
      `http://${KEY}:${KEY}@[::1]:9000/1`,
    ],
    [
      ...['sentry.io', 'https://example.com/1', 'https://k@example.com/', 'ftp://k@h/1'],
      ...['HTTP://k@h/1', 'http://k@h:99999/1', 'http://k@256.1.1.1/1', 'http://k@h/1?a=/2'],
      ...['http://@h/1', 'http://k@h/1x', 'http://k@h/1 '],
    ],
  ],
  ['SENTRY_ENVIRONMENT', ['latest', 'é'.repeat(32)], [...ODD_NAMES, 'None', 'é'.repeat(33)]],
  ['SENTRY_RELEASE', ['shop@1.0.0+build', 'none'], [...ODD_NAMES, 'LATEST', 'x'.repeat(201)]],
  ['SENTRY_TRACES_SAMPLE_RATE', ['0', '1.0', '.5'], [...ODD_NUMBERS, '1.01', '.']],
  ['SENTRY_MAX_TRACES_PER_SECOND', ['1', '2.5'], [...ODD_NUMBERS, '0']],
  [
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    ['', 'http://jaeger:4318/v1/traces'],
    ['jaeger:4318', 'http://user:secret@jaeger:4318/v1/traces'],
  ],
  ['OTEL_SERVICE_NAME', ['my service'], ['', ' ']],
  ['SENTRY_EVENT_URL', ['', 'http://h/?query='], ['/issues/event/', 'javascript:alert(1)']],
  ...['SENTRY', 'PROMETHEUS', 'GRAFANA', 'ALERTMANAGER', 'MAILDEV', 'JAEGER'].map(
    (service): (typeof CASES)[number] => [
      `${service}_URL`,
      ['', 'https://[::1]:3000/d/a'],
      ['localhost:3000', 'http://', 'http://a b', 'http://h:99999'],
    ],
  ),
];

for (const [name, valid, invalid] of CASES) {
  test(`a valid ${name} is accepted, and an invalid one is rejected with what was expected`, () => {
    for (const value of valid) {
      const read = readConfig({ [name]: value })[name as 'PORT' | 'HOST'];
      assert.equal(read, typeof read === 'number' ? Number(value) : value);
    }
    for (const value of invalid) {
      const message = RegExp(`^${name} is "[^]*", but must be .+\\.$`);
      assert.throws(
        () => readConfig({ [name]: value }),
        { constructor: ConfigError, message },
        value,
      );
    }
  });
}

test('a trailing slash is removed from the URL of a service', () => {
  assert.equal(readConfig({ JAEGER_URL: 'http://h/a//' }).JAEGER_URL, 'http://h/a');
});

test('a message repeats neither a key nor a password', () => {
  for (const [name, value, shown] of [
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'http://me:secret@h:4318/', 'http://***@h:4318/'],
    ['SENTRY_DSN', 'https://secret:secret@h/abc', 'https://***@h/abc'],
    ['SENTRY_URL', 'me:secret/@secret@h', '***@h'],
  ] as const) {
    assert.throws(
      () => readConfig({ [name]: value }),
      RegExp(`is "${shown.replaceAll('*', '\\*')}"`),
    );
  }
});

/** Starts the server, which is to exit by itself. */
async function start(environment: Record<string, string>) {
  const server = spawnServer({ PORT: '0', METRICS_PORT: '0', ...environment });
  const [stdout, stderr, [code]] = await Promise.all([
    text(server.stdout),
    text(server.stderr),
    once(server, 'close'),
  ]);
  return { stdout, stderr, code };
}

test('every invalid setting has a line, and nothing is started', async () => {
  const { stdout, stderr, code } = await start({ PORT: 'http', LOG_LEVEL: 'verbose' });
  assert.deepEqual([code, stdout], [1, '']);
  assert.deepEqual(stderr.trim().split('\n'), [
    'PORT is "http", but must be a port number, 0 to 65535.',
    'LOG_LEVEL is "verbose", but must be one of fatal, error, warn, info, debug, trace, silent.',
  ]);
  assert.throws(() => readConfig({ PORT: '9464' }), /PORT and METRICS_PORT are both 9464/);
});

test('a port in use, or an address of another machine, is named with the setting to change', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const port = String((other.address() as AddressInfo).port);
  const cases = [
    [{ PORT: port }, `Cannot listen: .*${port}. Set PORT or HOST`],
    [{ METRICS_PORT: port }, `Cannot listen: .*${port}. Set METRICS_PORT or HOST`],
    [{ HOST: '192.0.2.1' }, 'Cannot listen: .*192.0.2.1.*HOST'],
    [{ HOST: 'no-such-host.invalid' }, 'Cannot listen: .*no-such-host.invalid.*HOST'],
  ] as const;
  const starts = await Promise.all(cases.map(([environment]) => start(environment)));
  for (const [i, { stdout, code }] of starts.entries()) {
    assert.equal(code, 1);
    assert.match(stdout, RegExp(String(cases[i]?.[1])));
    assert.doesNotMatch(stdout, /Server listening/);
  }
});
