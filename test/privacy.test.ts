import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as Sentry from '@sentry/node';
import { sentryOptions } from '../src/monitoring/sentry-options.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const SECRETS = {
  password: 'correct-horse-battery-staple',
  card: '4242424242424242',
  email: 'somebody@example.org',
  session: 'c2Vzc2lvbi10b2tlbg',
  bearer: 'YmVhcmVyLXRva2Vu',
  address: '203.0.113.7',
  agent: 'PersonalBrowser/1.0',
  referer: 'private-page',
};

test('no byte of what a visitor sends in confidence is in an envelope, a log line or a metric', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(
    t,
    { SENTRY_DSN: sink.dsn, LOG_LEVEL: 'trace' },
    'test/fixtures/failing-server.js',
  );
  const headers = {
    'content-type': 'application/json',
    cookie: `session=${SECRETS.session}; visitor=${SECRETS.session}`,
    authorization: `Bearer ${SECRETS.bearer}`,
    'x-forwarded-for': SECRETS.address,
    'x-api-key': SECRETS.bearer,
    'user-agent': SECRETS.agent,
    referer: `https://example.com/${SECRETS.referer}`,
    baggage: `user=${SECRETS.session}`,
  };
  const body = JSON.stringify({ password: SECRETS.password, card: { number: SECRETS.card } });
  const query = `?email=${SECRETS.email}&card=${SECRETS.card}`;

  const paths = ['/fail/after-body', '/no/such/page'];
  for (const path of paths) await app.get(path + query, { method: 'POST', headers, body });
  const gets = ['/trigger-error/', '/trigger-error/other/', '/my-view', '/fail/view', '/'];
  for (const path of gets) await app.get(path + query, { headers: { ...headers } });
  // A body that cannot be parsed: its content must not be quoted in a message either.
  await app.get('/fail/after-body', {
    method: 'POST',
    headers,
    body: `{"password": ${SECRETS.password}`,
  });

  const metrics = await (await fetch(app.metricsUrl)).text();
  await eventually(() => assert.equal(sink.items('event').length, 4));
  await app.stop();
  assert.ok(sink.items('transaction').length > 0);

  const outputs = { envelope: sink.raw.join('\n'), log: JSON.stringify(app.log), metric: metrics };
  for (const [output, text] of Object.entries(outputs)) {
    for (const [name, secret] of Object.entries(SECRETS)) {
      assert.ok(!text.includes(secret), `the ${name} is in a ${output}`);
    }
    assert.doesNotMatch(text, /ip_address|remoteAddress/, output);
  }
});

test('the SDK collects nothing of what it can collect by itself, also by integrations of the application', () => {
  Sentry.init({ ...sentryOptions, integrations: [] });
  const { frameContextLines, graphQL, ...collected } =
    Sentry.getClient()?.getDataCollectionOptions() ?? {};
  // The text of a query is sent without the values in it.
  for (const [name, value] of Object.entries({ ...collected, variables: graphQL?.variables })) {
    const isNothing = Object.values(Object(value)).every((part) => part === false);
    assert.ok(value === false || (typeof value === 'object' && isNothing), name);
  }
});
