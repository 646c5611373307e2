import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { ConfigError, readConfig, releaseOf } from '../src/config.ts';
import { spawnServer } from './helpers/spawn-app.ts';

test('an empty environment gives the documented defaults', () => {
  const config = readConfig({});
  assert.equal(config.PORT, 8000);
  assert.equal(config.METRICS_PORT, 9464);
  assert.equal(config.HOST, '127.0.0.1');
  assert.equal(config.SENTRY_DSN, '');
  assert.equal(config.SENTRY_TRACES_SAMPLE_RATE, 1);
  assert.match(config.SENTRY_RELEASE, /^fastify-sentry-prometheus@\d/);
});

test('values are converted to their types, and the result cannot be changed', () => {
  const config = readConfig({ PORT: '8080', SENTRY_TRACES_SAMPLE_RATE: '0.25', UNRELATED: 'x' });
  assert.equal(config.PORT, 8080);
  assert.equal(config.SENTRY_TRACES_SAMPLE_RATE, 0.25);
  assert.ok(Object.isFrozen(config));
  assert.ok(!('UNRELATED' in config));
});

const KEY = '0123456789abcdef0123456789abcdef';

const rightValues: Record<string, string[]> = {
  ALLOWED_HOSTS: ['*', 'app', 'Shop.Example.com,my_app', '10.1.2.3,[::1],[2001:db8::1]'],
  ERRORS_PER_SECOND: ['1', '1000000'],
  HOST: ['0.0.0.0', '::', '::1', 'fe80::1%lo', 'my_host.', 'xn--e1afmkfd.xn--p1ai'],
  PORT: ['0', '65535'],
  SENTRY_DSN: [
    '',
    `https://${KEY}@o123.ingest.de.sentry.io/456`,
    `https://${KEY}@sentry.example.com/2`,
    `https://${KEY}@example.com/some/path/2`,
    `http://${KEY}@bugsink:8000/1`,
    `http://${KEY}@127.0.0.1:9000/1`,
    `http://${KEY}@[::1]:9000/1`,
    `http://${KEY}:@bugsink:8000/1`,
    `http://${KEY}:${KEY}@bugsink:65535/1`,
  ],
  SENTRY_ENVIRONMENT: ['latest', 'a.b', '...', 'x'.repeat(64), 'é'.repeat(32)],
  SENTRY_RELEASE: ['none', 'shop@1.0.0+build-1', '@', 'x'.repeat(200), 'é'.repeat(100)],
  SENTRY_TRACES_SAMPLE_RATE: ['0', '1', '1.0', '.5', '0.001'],
  GRAFANA_URL: ['', 'http://localhost:3000', 'https://[::1]:3000/d/a?b=c#d'],
};

for (const [name, values] of Object.entries(rightValues)) {
  test(`every kind of right ${name} is accepted`, () => {
    for (const value of values) {
      const read = readConfig({ [name]: value })[name as 'PORT'];
      assert.equal(String(read), typeof read === 'number' ? String(Number(value)) : value);
    }
  });
}

/** What JavaScript takes for a number, and nobody means by one. */
const ODD_NUMBERS = ['', ' ', 'Infinity', '-Infinity', 'NaN', '1e400', '0x1F', '1e0', '+1', ' 1'];
const ODD_CHARACTERS = ['/', '\\', ' ', '\t', '\n', '\r', '\f', '\x1b', '\x7f', '\u2028'];
const oddNames = ODD_CHARACTERS.flatMap((odd) => [odd, `a${odd}b`]);

const mistakes: Record<string, string[]> = {
  PORT: [...ODD_NUMBERS, 'http', '-1', '65536', '80.5'],
  METRICS_PORT: [...ODD_NUMBERS, 'none', '70000', 'tcp://10.43.0.1:9464'],
  HOST: [
    '',
    ' ',
    '[::1',
    '[localhost]',
    '[]',
    'localhost:8000',
    '[::1]:8000',
    'http://localhost',
    '*',
  ],
  ALLOWED_HOSTS: [
    ...['', 'a, b', 'a,,b', 'a,', 'a,*'],
    ...['127.0.0.1:8000', 'localhost:80', '[::1]:80', '::1', '[::1', '[::zz]', '[0:0::1]'],
    ...['http://localhost', 'localhost/', 'user@localhost', 'localhost?x', 'localhost#x'],
    ...['localhost.', '.localhost', 'a..b', '*.example.com', 'магазин.рф'],
    ...['127.1', '0x7f.0.0.1', '256.1.1.1'],
  ],
  ERRORS_PER_SECOND: [...ODD_NUMBERS, '0', '1.5', '1000001'],
  LOG_LEVEL: ['', 'verbose', 'toString'],
  SENTRY_DSN: [
    ...['sentry.io', 'https://example.com/1', 'https://key@example.com/', 'ftp://k@h/1'],
    ...['http://k@h:99999/1', 'http://k@h:0/1', 'http://k@h:/1', 'http://k@h:x/1'],
    ...['http://k@[::zz]/1', 'http://k@::1/1', 'http://k@[::1/1', 'http://k@256.1.1.1/1'],
    ...['http://k@h/1?a=/2', 'http://k@h/#/2', 'http://k@h/ /2', 'HTTP://k@h/1', 'http://@h/1'],
    ...['http://k@.../1', 'http://k@a..b/1', 'http://k@.a/1', 'http://k@a../1'],
    ...['http://k:s:t@h/1', 'http://k@h/1x', 'http://k@h/1 ', 'http://k@h/1\n'],
  ],
  SENTRY_ENVIRONMENT: [
    ...['', '.', '..', 'none', 'None', ...oddNames],
    ...['x'.repeat(65), 'é'.repeat(33), '😀'.repeat(17)],
  ],
  SENTRY_RELEASE: [
    ...['', '.', '..', 'latest', 'LATEST', ...oddNames],
    ...['x'.repeat(201), 'é'.repeat(101), '😀'.repeat(51)],
  ],
  SENTRY_TRACES_SAMPLE_RATE: [...ODD_NUMBERS, 'all', '-0.1', '1.01', '.'],
  SENTRY_MAX_TRACES_PER_SECOND: [...ODD_NUMBERS, '0', 'many', '1000000.5'],
  SENTRY_MAX_WAITING_MEGABYTES: [...ODD_NUMBERS, '0', '1001'],
  SENTRY_URL: ['localhost:9000', 'http://', 'http://h:99999', 'http://[::zz]'],
  SENTRY_EVENT_URL: ['/issues/event/'],
  METRICS_URL: ['localhost'],
  PROMETHEUS_URL: ['localhost:9090'],
  GRAFANA_URL: ['javascript:alert(1)', 'http://a b'],
  ALERTMANAGER_URL: ['9093'],
  MAILDEV_URL: ['mail'],
  JAEGER_URL: ['localhost:16686'],
  SENTRY_SEND_TRANSACTIONS: ['yes', '1'],
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: ['jaeger:4318', 'http://user:secret@jaeger:4318/v1/traces'],
  OTEL_SERVICE_NAME: ['', ' '],
};

for (const [name, values] of Object.entries(mistakes)) {
  test(`a bad ${name} is refused by name, with what it got and what it takes`, () => {
    for (const value of values) {
      assert.throws(
        () => readConfig({ [name]: value }),
        (error: Error) => {
          assert.ok(error instanceof ConfigError);
          const shown = JSON.stringify(value.replace(/(?<=:\/\/).*@/, '***@'));
          assert.ok(error.message.startsWith(`${name} is ${shown}, but takes `), error.message);
          assert.equal(error.message.split('\n').length, 1);
          return true;
        },
        value,
      );
    }
  });
}

test('HOST=localhost is one address: on two, Fastify serves some requests that no stop waits for', () => {
  assert.equal(readConfig({ HOST: 'localhost' }).HOST, '127.0.0.1');
});

test('the release of every package.json is one that the settings take', () => {
  for (const [name, version, release] of [
    ['shop', '1.0.0', 'shop@1.0.0'],
    ['@acme/shop', '1.0.0', 'acme-shop@1.0.0'],
    ['shop', '1.0.0-feature/x', 'shop@1.0.0-feature-x'],
    ['shop', '1.0.0+build.1', 'shop@1.0.0+build.1'],
    ['shop', undefined, 'shop'],
    [undefined, '1.0.0', '1.0.0'],
    [undefined, undefined, 'unknown'],
    ['', '', 'unknown'],
    [undefined, 'latest', 'unknown'],
    ['@acme/магазин', '1.0.0', 'acme--------@1.0.0'],
    ['x'.repeat(214), '1.0.0', 'x'.repeat(200)],
  ] as const) {
    const got = releaseOf({ ...(name !== undefined && { name }), ...(version && { version }) });
    assert.equal(got, release);
    assert.equal(readConfig({ SENTRY_RELEASE: got }).SENTRY_RELEASE, release);
  }
});

test('a bad secret is refused by name, but not repeated', () => {
  assert.throws(() => readConfig({ COOKIE_SECRET: 'too short' }), {
    message: /^COOKIE_SECRET is a secret of another form, but takes at least 32 characters/,
  });
});

test('the user and the password of an address are not repeated', () => {
  const secret = 'correct-horse';
  for (const [name, value, shown] of [
    ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', `http://me:${secret}@h:4318/`, 'http://***@h:4318/'],
    ['SENTRY_DSN', `https://key:${secret}@h/abc`, 'https://***@h/abc'],
    ['SENTRY_DSN', `me:${secret}/@${secret}@h/abc`, '***@h/abc'],
    ['SENTRY_URL', `ftp://me:${secret}@h`, 'ftp://***@h'],
    ['PROMETHEUS_URL', `me:${secret}\n@h`, '***@h'],
    ['ALLOWED_HOSTS', `http://me:${secret}@h`, 'http://***@h'],
  ] as const) {
    assert.throws(
      () => readConfig({ [name]: value }),
      ({ message }: Error) => {
        assert.ok(message.startsWith(`${name} is "${shown}", but takes `), message);
        assert.ok(!message.includes(secret), message);
        return true;
      },
    );
  }
});

test('a service has its address with or without a slash at the end, and an event exactly as given', () => {
  for (const name of ['PROMETHEUS_URL', 'JAEGER_URL', 'SENTRY_URL'] as const) {
    assert.equal(readConfig({ [name]: 'http://h/a//' })[name], 'http://h/a');
  }
  assert.equal(readConfig({ SENTRY_EVENT_URL: 'http://h/' }).SENTRY_EVENT_URL, 'http://h/');
});

test('an IPv6 address to bind may have the brackets of a URL', () => {
  assert.equal(readConfig({ HOST: '[::1]' }).HOST, '::1');
});

test('two ports are two', () => {
  assert.throws(() => readConfig({ PORT: '9464' }), {
    message: 'PORT and METRICS_PORT are both 9464, but take two different ports.',
  });
  assert.equal(readConfig({ PORT: '0', METRICS_PORT: '0' }).PORT, 0, 'any two that are free');
});

test('a bad value stops the start with that line, exit code 1 and no stack', async () => {
  const server = spawnServer({ PORT: 'http', LOG_LEVEL: 'verbose' });
  let output = '';
  server.stderr.on('data', (chunk) => {
    output += chunk;
  });
  const [code] = await once(server, 'close');
  assert.equal(code, 1);
  assert.deepEqual(output.trim().split('\n'), [
    'PORT is "http", but takes a TCP port, 0 to 65535.',
    'LOG_LEVEL is "verbose", but takes one of fatal, error, warn, info, debug, trace, silent.',
  ]);
});
