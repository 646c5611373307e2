import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const SECRETS = {
  password: 'correct-horse-battery-staple',
  email: 'somebody@example.org',
  session: 'c2Vzc2lvbi10b2tlbg',
  bearer: 'YmVhcmVyLXRva2Vu',
  address: '203.0.113.7',
  agent: 'PersonalBrowser/1.0',
  referer: 'private-page',
};

test('no private data of a visitor is in an envelope or a metric', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, 'test/fixtures/monitored/server.js');
  const headers = {
    'content-type': 'application/json',
    cookie: `session=${SECRETS.session}`,
    authorization: `Bearer ${SECRETS.bearer}`,
    'x-forwarded-for': SECRETS.address,
    'x-api-key': SECRETS.bearer,
    'user-agent': SECRETS.agent,
    referer: `https://example.com/${SECRETS.referer}`,
    baggage: `user=${SECRETS.session}`,
  };
  const query = `?email=${SECRETS.email}&token=${SECRETS.bearer}`;
  const body = JSON.stringify({ password: SECRETS.password });
  for (const path of ['/after-body', '/no/such/page']) {
    await app.get(path + query, { method: 'POST', headers, body });
  }
  // A body that can't be parsed must not be quoted in a message.
  await app.get(`/no-json${query}`, { method: 'POST', headers, body: body.slice(0, -1) });
  // The second hands the token on to another service.
  for (const path of ['/thrown', '/fetch']) await app.get(path + query, { headers });
  const metrics = await (await fetch(app.metricsUrl)).text();
  assert.equal(await app.stop(), 0);
  assert.equal(sink.items('event').length, 3);
  assert.equal(sink.items('transaction').length, 5);

  for (const [where, text] of Object.entries({ envelopes: sink.raw.join('\n'), metrics })) {
    for (const [name, secret] of Object.entries(SECRETS)) {
      assert.ok(!text.includes(secret), `the ${name} is in the ${where}`);
    }
    assert.doesNotMatch(text, /ip_address/, where);
  }
});
