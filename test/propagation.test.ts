/** Whose trace a request is of, and who decides whether it is recorded. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startCases } from './helpers/cases.ts';
import { eventually } from './helpers/eventually.ts';
import { open } from './helpers/raw.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const OTHER = 'cccccccccccccccccccccccccccccccc';
const IDS = `${TRACE}-${SPAN}`;
const ZEROS = { trace: '0'.repeat(32), span: '0'.repeat(16) };
const BAGGAGE =
  `sentry-trace_id=${TRACE},sentry-public_key=abc,sentry-sample_rate=0.5,` +
  'sentry-sample_rand=0.25,sentry-sampled=true,sentry-transaction=checkout';

interface Caller {
  headers: Record<string, string>;
  isContinued: boolean;
  /** Undefined if the caller leaves it to us. */
  isRecorded?: boolean;
}

const continued = (headers: Record<string, string>, isRecorded?: boolean): Caller => ({
  headers,
  isContinued: true,
  ...(isRecorded !== undefined && { isRecorded }),
});
const ignored = (headers: Record<string, string>): Caller => ({ headers, isContinued: false });

const CALLERS: Record<string, Caller> = {
  'traceparent 00, recorded': continued({ traceparent: `00-${IDS}-01` }, true),
  'traceparent 00, not recorded': continued({ traceparent: `00-${IDS}-00` }, false),
  'traceparent 00 with further flags, recorded': continued({ traceparent: `00-${IDS}-ff` }, true),
  'traceparent 00 with further flags, not recorded': continued(
    { traceparent: `00-${IDS}-02` },
    false,
  ),
  'traceparent 01': continued({ traceparent: `01-${IDS}-01` }, true),
  'traceparent 01 with more fields': continued({ traceparent: `01-${IDS}-01-what-ever` }, true),
  'traceparent 01 with more that is no field': ignored({ traceparent: `01-${IDS}-01what` }),
  'traceparent 00 with more fields': ignored({ traceparent: `00-${IDS}-01-more` }),
  'traceparent ff': ignored({ traceparent: `ff-${IDS}-01` }),
  'traceparent in upper case': ignored({ traceparent: `00-${IDS.toUpperCase()}-01` }),
  'traceparent without flags': ignored({ traceparent: `00-${IDS}` }),
  'traceparent of zeros as trace': ignored({ traceparent: `00-${ZEROS.trace}-${SPAN}-01` }),
  'traceparent of zeros as span': ignored({ traceparent: `00-${TRACE}-${ZEROS.span}-01` }),
  'two of traceparent': ignored({ traceparent: `00-${IDS}-01, 00-${IDS}-01` }),
  'nonsense as traceparent': ignored({ traceparent: 'nonsense' }),
  'sentry-trace, recorded': continued({ 'sentry-trace': `${IDS}-1` }, true),
  'sentry-trace, not recorded': continued({ 'sentry-trace': `${IDS}-0` }, false),
  'sentry-trace, not decided': continued({ 'sentry-trace': IDS }),
  'sentry-trace with baggage': continued({ 'sentry-trace': `${IDS}-1`, baggage: BAGGAGE }, true),
  'sentry-trace in upper case': ignored({ 'sentry-trace': `${IDS.toUpperCase()}-1` }),
  'sentry-trace of zeros': ignored({ 'sentry-trace': `${ZEROS.trace}-${SPAN}-1` }),
  'nonsense as sentry-trace': ignored({ 'sentry-trace': 'nonsense' }),
  'baggage alone': ignored({ baggage: BAGGAGE }),
  'traceparent before sentry-trace': continued(
    { traceparent: `00-${IDS}-01`, 'sentry-trace': `${OTHER}-${SPAN}-0` },
    true,
  ),
  'sentry-trace where traceparent is nonsense': continued(
    { traceparent: 'nonsense', 'sentry-trace': `${IDS}-1` },
    true,
  ),
};

for (const rate of ['1', '0']) {
  test(`the trace of a caller, at trace rate ${rate}`, async (t) => {
    const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: rate });
    const { path } = app.caseOf('nothing at all');
    for (const [what, { headers, isContinued, isRecorded }] of Object.entries(CALLERS)) {
      await t.test(what, async () => {
        const before = app.sink.items('transaction').length;
        const traceId = (await app.get(path, { headers })).headers.get('x-trace-id');
        await app.settled();
        const transactions = app.sink.items('transaction').slice(before);

        assert.match(traceId ?? '', /^(?!0{32})[0-9a-f]{32}$/);
        assert.equal(traceId === TRACE, isContinued, 'continued');
        assert.equal(transactions.length === 1, isRecorded ?? rate === '1', 'recorded');
        if (transactions.length === 0) return;
        const { trace } = transactions[0].contexts;
        assert.equal(trace.trace_id, traceId);
        assert.equal(trace.parent_span_id, isContinued ? SPAN : undefined);
      });
    }
  });
}

/** The dynamic sampling context of every transaction, with the rate in its attributes. */
async function contextsOf(app: Awaited<ReturnType<typeof startCases>>) {
  await app.settled();
  return app.sink.all
    .filter(({ type }) => type === 'transaction')
    .map(({ header, payload }) => ({
      ...header.trace,
      attribute: payload.contexts.trace.data['sentry.sample_rate'],
    }));
}

test('a trace of our own says the rate it was taken with, and a random number below it', async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '0.5' });
  const { path } = app.caseOf('nothing at all');
  await Promise.all(Array.from({ length: 60 }, () => app.get(path)));
  const contexts = await contextsOf(app);
  assert.ok(contexts.length > 5 && contexts.length < 55, `${contexts.length} of 60`);
  for (const { sample_rate, sample_rand, sampled, transaction, attribute } of contexts) {
    assert.deepEqual(
      { sample_rate, sampled, transaction, attribute },
      { sample_rate: '0.5', sampled: 'true', transaction: `GET ${path}`, attribute: 0.5 },
    );
    assert.ok(Number(sample_rand) >= 0 && Number(sample_rand) < 0.5, sample_rand);
  }
  assert.equal(new Set(contexts.map(({ sample_rand }) => sample_rand)).size, contexts.length);
});

test("a caller's trace carries the caller's sampling context, and not a rate of our own", async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '0.1' });
  const headers = { 'sentry-trace': `${IDS}-1`, baggage: BAGGAGE };
  await app.get(app.caseOf('nothing at all').path, { headers });
  assert.deepEqual(await contextsOf(app), [
    {
      trace_id: TRACE,
      public_key: 'abc',
      sample_rate: '0.5',
      sample_rand: '0.25',
      sampled: 'true',
      transaction: 'checkout',
      attribute: undefined,
    },
  ]);
});

test('where the caller has not decided, its random number and our rate decide', async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '0.3' });
  const { path } = app.caseOf('nothing at all');
  for (const rand of ['0.25', '0.35']) {
    const baggage = `sentry-trace_id=${TRACE},sentry-public_key=abc,sentry-sample_rand=${rand}`;
    await app.get(path, { headers: { 'sentry-trace': IDS, baggage } });
  }
  const contexts = await contextsOf(app);
  assert.deepEqual(
    contexts.map(({ sample_rand, sample_rate, attribute }) => [
      sample_rand,
      sample_rate,
      attribute,
    ]),
    [['0.25', '0.3', 0.3]],
  );
});

for (const rate of ['1', '0']) {
  test(`an outgoing call carries the trace and its decision (trace rate ${rate})`, async (t) => {
    const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: rate });
    const [answer] = await app.ask(app.caseOf('an outgoing call'));
    const sent = JSON.parse(answer?.body ?? '');
    assert.match(sent['sentry-trace'], new RegExp(`^${answer?.traceId}-[0-9a-f]{16}-${rate}$`));
    assert.ok(sent.baggage.includes(`sentry-trace_id=${answer?.traceId}`));
    await app.settled();
    const spans = app.sink.items('transaction').flatMap(({ spans }) => spans);
    assert.deepEqual(
      spans.map(({ op, span_id }: Record<string, string>) => [op, span_id]),
      rate === '1' ? [['http.client', sent['sentry-trace'].split('-')[1]]] : [],
    );
  });
}

test("an outgoing call passes the caller's sampling context on", async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '0' });
  const { path } = app.caseOf('an outgoing call');
  const headers = { 'sentry-trace': `${IDS}-1`, baggage: `theirs=1,${BAGGAGE}` };
  const sent = (await (await app.get(path, { headers })).json()) as Record<string, string>;
  const entries = (baggage = '') => baggage.split(',').filter((entry) => /^sentry-/.test(entry));
  assert.deepEqual(entries(sent.baggage).sort(), entries(BAGGAGE).sort());
});

interface SamplingContext {
  name: string;
  attributes: Record<string, unknown>;
  parentSampled?: boolean;
  normalizedRequest?: { method: string; url: string; headers: Record<string, string> };
}

/** An application with a `tracesSampler`, which leaves out what has "never" in its name. */
async function startWithSampler(t: Parameters<typeof startCases>[0], settings = {}) {
  const app = await startCases(t, { TRACES_SAMPLER: 'yes', ...settings });
  return {
    ...app,
    asked: async (): Promise<SamplingContext[]> =>
      JSON.parse(await app.control('sampling-contexts')).filter(
        ({ name }: SamplingContext) => !name.includes('/control/'),
      ),
    names: async () => {
      await app.settled();
      return app.sink.items('transaction').map(({ transaction }) => transaction);
    },
  };
}

test("the application's tracesSampler decides", async (t) => {
  const app = await startWithSampler(t);
  await app.get('/nothing-at-all');
  await app.get('/never/sampled');
  assert.deepEqual(await app.names(), ['GET /nothing-at-all']);
});

test('tracesSampler is asked once for a request, with the documented context', async (t) => {
  const app = await startWithSampler(t);
  await app.ask(app.caseOf('told in a handler'));
  const [context, ...more] = await app.asked();
  assert.deepEqual(more, []);
  assert.equal(context?.name, 'GET /told-in-a-handler');
  assert.equal(context.parentSampled, undefined);
  assert.equal(context.attributes['sentry.op'], 'http.server');
  assert.equal(context.attributes['http.route'], '/told-in-a-handler');
  assert.equal(context.attributes['url.path'], '/told-in-a-handler');
  assert.equal(context.normalizedRequest?.method, 'GET');
  assert.equal(context.normalizedRequest?.url, `${new URL(app.url).origin}/told-in-a-handler`);
});

for (const [flag, parentSampled] of [
  ['1', true],
  ['0', false],
] as const) {
  test(`tracesSampler is told the caller's decision: ${flag}`, async (t) => {
    const app = await startWithSampler(t);
    await app.get('/nothing-at-all', { headers: { 'sentry-trace': `${IDS}-${flag}` } });
    assert.deepEqual(
      (await app.asked()).map((context) => context.parentSampled),
      [parentSampled],
    );
    // It inherits the decision.
    assert.equal((await app.names()).length, Number(flag));
  });
}

test('a request that tracesSampler leaves out begins no trace by its own spans', async (t) => {
  const app = await startCases(t, { TRACES_SAMPLER: 'never' });
  await app.ask(app.caseOf('told in a handler'));
  await app.settled();
  assert.deepEqual(app.sink.items('transaction'), []);
});

for (const [how, settings] of Object.entries({
  tracesSampleRate: { SENTRY_TRACES_SAMPLE_RATE: '1' },
  tracesSampler: { TRACES_SAMPLER: 'yes' },
})) {
  test(`a route that is not to be traced has its errors in the trace of the response (${how})`, async (t) => {
    const app = await startCases(t, settings);
    const traceId = (await app.get('/untraced')).headers.get('x-trace-id');
    await app.settled();
    assert.deepEqual(app.sink.items('transaction'), []);
    const traceIds = app.sink.items('event').map(({ contexts }) => contexts.trace.trace_id);
    assert.deepEqual(traceIds, [traceId]);
  });

  test(`no trace is begun past the limit, also not by spans in a request (${how})`, async (t) => {
    const app = await startCases(t, { ...settings, MAX_TRACES_PER_SECOND: '2' });
    const began = Date.now();
    const one = app.caseOf('told in a handler');
    await Promise.all(Array.from({ length: 30 }, () => app.ask(one)));
    const allowed = 2 + 2 * Math.ceil((Date.now() - began) / 1000);
    await app.settled();
    const names = app.sink.items('transaction').map(({ transaction }) => transaction);
    assert.deepEqual([...new Set(names)], [`GET ${one.path}`]);
    assert.ok(names.length >= 2 && names.length <= allowed, `${names.length} of ${allowed}`);
    assert.equal(app.sink.items('event').length, 30, 'no error is lost');
  });
}

test('a request that works for ever has a trace, when its visitor has left', async (t) => {
  const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: '1' });
  const { socket } = open(app.url);
  socket.write('GET /hangs HTTP/1.1\r\nHost: test\r\n\r\n');
  await once(socket, 'data');
  socket.destroy();
  await eventually(async () => {
    await app.settled();
    const [{ transaction }] = app.sink.items('transaction');
    assert.equal(transaction, 'GET /hangs');
  }, 30);
});

test('a request past the limit begins no trace by its own spans, however long it takes', async (t) => {
  const settings = { SENTRY_TRACES_SAMPLE_RATE: '1', MAX_TRACES_PER_SECOND: '0' };
  const app = await startCases(t, settings);
  await app.ask(app.caseOf('told in a handler after a collection of garbage'));
  await app.settled();
  assert.equal(app.sink.items('event').length, 1);
  assert.deepEqual(app.sink.items('transaction'), []);
});
