import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const cookieOf = (response: Response) => response.headers.getSetCookie()[0]?.split(';')[0] ?? '';

for (const rate of ['1', '0']) {
  test(`200 requests at once: each event has its own visitor and breadcrumbs (trace rate ${rate})`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, {
      SENTRY_DSN: sink.dsn,
      SENTRY_TRACES_SAMPLE_RATE: rate,
      SENTRY_MAX_TRACES_PER_SECOND: '1000',
      ERRORS_PER_SECOND: '1000',
    });

    const visits = Array.from({ length: 200 }, async (_, n) => {
      const cookie = cookieOf(await app.get('/'));
      const path = n % 2 ? '/trigger-error/other/' : '/my-view';
      // A duration of its own is a breadcrumb of its own.
      const seconds = ((n + 1) / 1000).toFixed(3);
      const response = await app.get(`${path}?seconds=${seconds}`, { headers: { cookie } });
      const visitor = decodeURIComponent(cookie.split('=')[1] ?? '').split('.')[0];
      return {
        failed: response.status === 500,
        traceId: response.headers.get('x-trace-id'),
        visitor,
        seconds,
      };
    });
    const failed = (await Promise.all(visits)).filter((visit) => visit.failed);
    assert.equal(failed.length, 100);
    assert.equal(new Set(failed.map(({ visitor }) => visitor)).size, 100);
    assert.equal(await app.stop(), 0);

    const events = sink.items('event');
    assert.equal(events.length, 100);
    for (const { traceId, visitor, seconds } of failed) {
      const event = events.find(({ contexts }) => contexts.trace.trace_id === traceId);
      assert.ok(event, 'every failed request has an event');
      assert.deepEqual(event.user, { id: visitor });
      assert.deepEqual(
        event.breadcrumbs.map(({ message }: { message: string }) => message),
        [`Working for ${Number(seconds)} s`],
      );
    }
  });
}

test('the visitor is an anonymous id, in a cookie that is signed and not for scripts', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const [setCookie] = (await app.get('/')).headers.getSetCookie();
  assert.match(setCookie ?? '', /^visitor-\d+=[0-9a-f-]{36}\.[^;]+; /);
  for (const attribute of ['HttpOnly', 'SameSite=Lax', 'Path=/']) {
    assert.ok(setCookie?.includes(attribute), attribute);
  }

  const cookie = setCookie?.split(';')[0] ?? '';
  assert.deepEqual((await app.get('/', { headers: { cookie } })).headers.getSetCookie(), []);
  const forged = cookie.replace(/=..../, '=0000');
  await app.get('/trigger-error/', { headers: { cookie: forged } });
  await app.stop();
  assert.equal(sink.items('event')[0].user, undefined, 'a forged id is not reported');
});

for (const rate of ['1', '0']) {
  test(`what a request tells Sentry itself is on no other's event (trace rate ${rate})`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const environment = { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: rate };
    const app = await spawnApp(t, environment, 'test/fixtures/failing-server.js');
    await app.get('/leave-traces');
    await app.get('/fail/handler');
    await app.stop();
    const [event] = sink.items('event');
    assert.equal(event.user, undefined);
    assert.equal(event.tags?.left, undefined);
    assert.equal(event.breadcrumbs, undefined);
  });
}

test('what was signed for one cookie counts in no other', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const cookieOf = async (path: string) =>
    (await app.get(path)).headers.getSetCookie()[0]?.split(';')[0]?.split('=') ?? [];
  const [, event] = await cookieOf('/trigger-error/');
  const [, visitor] = await cookieOf('/');
  assert.ok(event && visitor);
  const meet = (cookie: string) => app.get('/trigger-error/', { headers: { cookie } });
  await meet(`visitor=${event}`);
  // The name is part of what is signed: it must not be movable into the value either.
  await meet(`visitor=${encodeURIComponent('event=')}${event}`);
  await meet(`visitor=${visitor}`);
  const guide = await (await app.get('/', { headers: { cookie: `event=${visitor}` } })).text();
  assert.ok(!guide.includes(decodeURIComponent(visitor).split('.')[0] as string));
  await app.stop();

  const users = sink.items('event').map(({ user }) => user?.id);
  assert.deepEqual(users, [undefined, undefined, undefined, users[3]]);
  assert.equal(users[3], decodeURIComponent(visitor).split('.')[0]);
});
