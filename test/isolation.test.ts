import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startCases } from './helpers/cases.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { open } from './helpers/raw.ts';
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

/** The two ways to give a request scopes of its own. */
const WAYS = {
  "the SDK's storage": {},
  withIsolationScope: { WITHOUT_STORAGE: 'yes' },
};

for (const [way, environment] of Object.entries(WAYS)) {
  test(`by ${way} is how requests are isolated`, async (t) => {
    const app = await startCases(t, environment);
    const { isLazy } = JSON.parse(await app.control('isolation'));
    // Only of the storage itself can it be that the scopes are made when somebody asks for them.
    assert.equal(isLazy, way === "the SDK's storage");
  });

  for (const rate of ['1', '0']) {
    const circumstances = `by ${way}, at trace rate ${rate}`;
    const settings = { ...environment, SENTRY_TRACES_SAMPLE_RATE: rate };

    test(`40 users at once: each has their own event (${circumstances})`, async (t) => {
      const app = await startCases(t, settings);
      const ids = Array.from({ length: 40 }, (_, n) => `user-${n}`);
      const traceIds = new Map<string, string | null>();
      await Promise.all(
        ids.flatMap((id) => [
          app
            .get(`/users/${id}`)
            .then(({ headers }) => traceIds.set(id, headers.get('x-trace-id'))),
          app.get(`/strangers/${id}`),
        ]),
      );
      await app.settled();

      const seen = app.sink.items('event').map(eventOf);
      const path = (kind: string, id: string) => `${new URL(app.url).origin}/${kind}/${id}`;
      const expected = ids.flatMap((id) => [
        { id, url: path('users', id), user: id, tag: id, crumbs: [id], traceId: traceIds.get(id) },
        { id, url: path('strangers', id), user: null, tag: null, crumbs: [] },
      ]);
      for (const { traceId, ...rest } of expected) {
        const found = seen.filter(({ url }) => url === rest.url);
        assert.deepEqual(found, [{ ...rest, traceId: traceId ?? found[0]?.traceId }]);
      }
      assert.equal(seen.length, 80);
      assert.equal(new Set(seen.map(({ traceId }) => traceId)).size, 80, 'a trace each');
    });

    test(`what is told in any place is on its request's event (${circumstances})`, async (t) => {
      const app = await startCases(t, settings);
      const places = app.cases.filter(({ name }) => name.startsWith('told '));
      // All at once, so that there are others to whom it could go.
      const answers = await Promise.all(places.map((one) => app.ask(one)));
      const { leaked } = await app.settled();

      for (const [n, { name, path, method = 'GET' }] of places.entries()) {
        await t.test(name, () => {
          const events = app.sink.items('event').filter((event) => eventOf(event).id === name);
          assert.equal(events.length, 1);
          const [event] = events;
          const { url, traceId, ...told } = eventOf(event);
          assert.deepEqual(told, { id: name, user: name, tag: name, crumbs: [name] });
          assert.equal(new URL(url).pathname, path);
          assert.equal(event.request.method, method);
          const answered = answers[n]?.[0]?.traceId;
          if (answered) assert.equal(traceId, answered);
          const transactions = app.sink
            .items('transaction')
            .filter(({ contexts }) => contexts.trace.trace_id === traceId);
          // What begins when the trace was sent is one of its own, which the SDK adds to it.
          if (name.endsWith('after the answer')) return;
          assert.equal(transactions.length, Number(rate), 'transactions');
          if (rate === '0') return;
          const [{ contexts, spans }] = transactions;
          const [span] = spans.filter(({ op }: { op: string }) => op === 'work');
          assert.equal(span?.description, name);
          assert.equal(span.parent_span_id, contexts.trace.span_id, 'a child of the root');
          assert.equal(event.contexts.trace.span_id, span.span_id, 'the event is in the span');
        });
      }
      await t.test('nothing is left for others', () => assert.equal(leaked, null));
      await t.test('there is no stray transaction', () => {
        const names = app.sink.items('transaction').map(({ transaction }) => transaction);
        const late = /^told in a (promise|timer) after the answer$/;
        const strays = names.filter((name) => !/^(GET|POST) /.test(name) && !late.test(name));
        assert.deepEqual(strays, []);
      });
    });

    test(`what is told behind a hook that forks the scopes is on the event (${circumstances})`, async (t) => {
      const app = await startCases(t, settings);
      for (const fork of ['withScope', 'withIsolationScope']) {
        const name = `thrown behind a hook with ${fork}`;
        await app.ask(app.caseOf(name));
        await app.settled();
        const event = app.sink.items('event').at(-1);
        const { id, user } = eventOf(event);
        assert.deepEqual([id, user, event.tags.fork], [name, name, fork]);
      }
    });

    test(`what was told at the start is on every event (${circumstances})`, async (t) => {
      const app = await startCases(t, settings);
      await app.ask(app.caseOf('setContext and setExtra'));
      await app.settled();
      const [event] = app.sink.items('event');
      assert.equal(event.tags.set_at, 'start');
      assert.equal(event.extra.card, 'removed', 'by the event processor');
    });
  }
}

test('a request knows no last event but its own', async (t) => {
  const app = await startCases(t, { CAPTURE_AT_START: 'yes' });
  await app.get('/users/alice');
  assert.equal(await (await app.get('/last-event')).text(), 'none');
});

test('what a handler returns is asked for its result once, also in a request that is traced', async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '1' });
  for (const n of [1, 2]) assert.equal(await (await app.get('/thenable')).text(), `executed ${n}`);
});

test('what a request leaves behind keeps its scopes, and not the request', async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '1' });
  for (const rate of [1, 2]) await app.get('/kept', { method: 'POST', body: `${rate}` });
  await app.settled();
  assert.deepEqual(JSON.parse(await app.control('kept')), { isKept: false });
});

test('the messages of a WebSocket are of the request that opened it', async (t) => {
  const app = await startCases(t);
  const { socket, answer } = open(app.url);
  socket.write(
    'GET /socket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n',
  );
  await once(socket, 'data');
  socket.write('hello');
  await answer;
  assert.deepEqual(await app.settled(), { leaked: null });
  const [{ message, user, transaction }] = app.sink.items('event');
  assert.deepEqual(
    { message, user, transaction },
    {
      message: 'hello',
      user: { id: 'messenger' },
      transaction: 'GET /socket',
    },
  );
});

test('what was signed for one cookie counts in no other', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const cookieOf = async (path: string) =>
    (await app.get(path)).headers.getSetCookie()[0]?.split(';')[0]?.split('=') ?? [];
  // Their names have the port in them.
  const [events, event] = await cookieOf('/trigger-error/');
  const [visitors, visitor] = await cookieOf('/');
  assert.ok(events && event && visitors && visitor);
  const meet = (cookie: string) => app.get('/trigger-error/', { headers: { cookie } });
  await meet(`${visitors}=${event}`);
  // The name is part of what is signed: it must not be movable into the value either.
  await meet(`${visitors}=${encodeURIComponent('event=')}${event}`);
  await meet(`${visitors}=${visitor}`);
  const guide = await (await app.get('/', { headers: { cookie: `${events}=${visitor}` } })).text();
  assert.ok(!guide.includes(decodeURIComponent(visitor).split('.')[0] as string));
  await app.stop();

  const users = sink.items('event').flatMap(({ user }) => user?.id ?? []);
  assert.equal(sink.items('event').length, 4);
  assert.deepEqual(users, [decodeURIComponent(visitor).split('.')[0]], 'only its own counts');
});

/** What the tests look at in an event. */
// biome-ignore lint/suspicious/noExplicitAny: what the SDK sends
function eventOf({ exception, user, tags, breadcrumbs = [], request, contexts }: any) {
  return {
    id: exception.values[0].value,
    url: request?.url,
    user: user?.id ?? null,
    tag: tags?.user ?? tags?.place ?? null,
    crumbs: breadcrumbs.map(({ message }: { message: string }) => message),
    traceId: contexts.trace.trace_id,
  };
}
