import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { ConfigError, readConfig } from '../src/config.ts';
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

test('every kind of DSN is accepted', () => {
  const key = '0123456789abcdef0123456789abcdef';
  for (const dsn of [
    `https://${key}@o123.ingest.de.sentry.io/456`,
    `https://${key}@sentry.example.com/2`,
    `https://${key}@example.com/some/path/2`,
    `http://${key}@bugsink:8000/1`,
    `http://${key}@127.0.0.1:9000/1`,
  ]) {
    assert.equal(readConfig({ SENTRY_DSN: dsn }).SENTRY_DSN, dsn);
  }
});

const mistakes: Record<string, string[]> = {
  PORT: ['', 'http', '-1', '65536', '80.5'],
  METRICS_PORT: ['', 'none', '70000'],
  HOST: [''],
  ALLOWED_HOSTS: ['', 'a, b'],
  ERRORS_PER_SECOND: ['', '0', '1.5'],
  LOG_LEVEL: ['', 'verbose'],
  SENTRY_DSN: ['sentry.io', 'https://example.com/1', 'https://key@example.com/', 'ftp://k@h/1'],
  SENTRY_ENVIRONMENT: ['', 'a/b', 'a b'],
  SENTRY_RELEASE: ['', 'a/b'],
  SENTRY_TRACES_SAMPLE_RATE: ['', 'all', '-0.1', '1.01'],
  SENTRY_MAX_TRACES_PER_SECOND: ['', '0', 'many'],
  SENTRY_URL: ['localhost:9000'],
  SENTRY_EVENT_URL: ['/issues/event/'],
  METRICS_URL: ['localhost'],
  PROMETHEUS_URL: ['localhost:9090'],
  GRAFANA_URL: ['javascript:alert(1)'],
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
          assert.ok(error.message.startsWith(`${name} is ${JSON.stringify(value)}, but takes `));
          assert.equal(error.message.split('\n').length, 1);
          return true;
        },
        value,
      );
    }
  });
}

test('a bad secret is refused by name, but not repeated', () => {
  assert.throws(() => readConfig({ COOKIE_SECRET: 'too short' }), {
    message: /^COOKIE_SECRET is a secret of another form, but takes at least 32 characters/,
  });
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
