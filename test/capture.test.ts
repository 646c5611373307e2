import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

const FAILING_SERVER = 'test/fixtures/failing-server.js';

const messages = (events: { exception: { values: { value: string }[] } }[]) =>
  events.map((event) => event.exception.values.at(-1)?.value);

for (const tracesPerRequest of ['1', '0']) {
  test(`an error is captured once wherever it is thrown (trace rate ${tracesPerRequest})`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(
      t,
      {
        SENTRY_DSN: sink.dsn,
        SENTRY_TRACES_SAMPLE_RATE: tracesPerRequest,
        SENTRY_MAX_TRACES_PER_SECOND: '1000',
      },
      FAILING_SERVER,
    );

    const places = [
      'handler',
      'async-handler',
      'string',
      'null',
      'cause',
      'status/200',
      'status/302',
      'status/700',
      'status/ENOENT',
      'onRequest',
      'preParsing',
      'preValidation',
      'preHandler',
      'preSerialization',
      'onSend',
    ];
    for (const place of places) {
      const response = await app.get(`/fail/${place}`);
      assert.equal(response.status, 500, place);
      assert.match(await response.text(), /id="event-id"/, place);
    }
    const body = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } };
    assert.equal((await app.get('/fail/after-body', body)).status, 500);
    assert.equal((await app.get('/fail/view')).status, 500);
    assert.equal((await app.get('/fail/client-error')).status, 422);
    assert.equal((await app.get('/my-view?seconds=no')).status, 400);
    assert.equal((await app.get('/no/such/page')).status, 404);
    assert.equal(await app.stop(), 0);

    const events = sink.items('event');
    const seen = messages(events).map((message) =>
      message?.includes('no-such-view') ? 'view' : message,
    );
    const expected = places.map((place) => place.replace('/', ' '));
    assert.deepEqual(seen.sort(), [...expected, 'after-body', 'view'].sort());
    for (const event of events) {
      assert.match(event.request.url, /\/fail\/[\w-]+(\/\w+)?$/);
      assert.equal(
        event.transaction,
        `${event.request.method} ${new URL(event.request.url).pathname}`,
      );
    }
    const withCause = events.find((event) => event.exception.values.length === 2);
    assert.deepEqual(
      withCause.exception.values.map(({ value }: { value: string }) => value),
      ['the cause', 'cause'],
    );
  });
}

test('an error that refuses to be read or written is answered, logged and reported like any other', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
  const odd = ['message', 'stack', 'name', 'cause', 'code', 'status', 'headers', 'other', 'json'];
  for (const name of ['frozen', 'proxy', 'revoked', 'symbol', 'bare', 'bigint', ...odd]) {
    const response = await app.get(`/fail/odd/${name}`);
    assert.equal(response.status, 500, name);
    const html = await response.text();
    assert.match(html, /id="event-id"/, name);
    assert.doesNotMatch(html, /internal/, name);
  }
  for (const name of ['frozen-client-error', 'client-error-message']) {
    const response = await app.get(`/fail/odd/${name}`);
    assert.equal(response.status, 422, name);
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/, name);
    assert.doesNotMatch(await response.text(), /nobody may read this/, name);
  }
  assert.equal(await app.stop(), 0);
  assert.equal(sink.items('event').length, 15);
  const failed = app.log.filter(({ msg }) => msg === 'request failed');
  assert.equal(failed.length, 15);
  const logged = failed.map(({ err }) => (err as Error | undefined)?.message);
  assert.deepEqual(logged.slice(0, 2), ['internal', 'The message of this error cannot be read.']);
  const reported = messages(sink.items('event'));
  assert.equal(reported.filter((message) => message?.includes('internal')).length, 10);
});

for (const what of ['exception', 'rejection', 'abort', 'frozen']) {
  test(`an ${what} outside of any request is delivered, and ends the process with 1`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
    const exit = once(app.child, 'close');
    await app.get(`/fail/outside/${what}`).catch(() => {});
    assert.deepEqual(await exit, [1, null]);
    assert.deepEqual(messages(sink.items('event')), [what]);
    assert.ok(app.log.some(({ level, msg }) => level === 60 && msg.startsWith('unexpected error')));
  });
}

test('errors that come while the process stops are delivered, too', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
  const exit = once(app.child, 'close');
  const lasting = app.get('/my-view?seconds=1');
  await app.get('/fail/outside/exception').catch(() => {});
  await app.get('/fail/outside/rejection').catch(() => {});
  await app.get('/fail/handler').catch(() => {});
  assert.equal((await lasting).status, 200, 'what was begun is answered');
  assert.deepEqual(await exit, [1, null]);
  assert.deepEqual(messages(sink.items('event')).sort(), ['exception', 'handler', 'rejection']);
});

test('events are sent and accounted for also when something cannot be closed', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.never);
  const environment = { SENTRY_DSN: tracker.dsn, FAIL_ON_CLOSE: 'yes' };
  const app = await spawnApp(t, environment, FAILING_SERVER);
  await app.get('/fail/handler');
  assert.equal(await app.stop(), 1);
  assert.ok(app.log.some(({ msg }) => msg === 'events did not reach the tracker'));
});
