/** What src/monitoring promises, tested with a small application over real sockets. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EnvelopeSink, startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { type LogLine, spawnApp } from './helpers/spawn-app.ts';
import { type Answer, type Visit, visit } from './helpers/visit.ts';

const POST = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' };

/** The expected results of a request. */
interface Row extends Visit {
  path: string;
  route?: string;
  /** 0 if the connection is cut. */
  status: number;
  events: 0 | 1;
  /** The status in metrics and traces, where it is not the one above. */
  counted?: number;
  /** False where there is never a trace. */
  traced?: false;
  /** False where the page does not show the id of the event. */
  shown?: false;
  /** False where metric and trace do not know the event either. */
  linked?: false;
}

const each = (prefix: string, names: string, row: Omit<Row, 'path'>): Row[] =>
  names.split(' ').map((name) => ({ path: prefix + name, ...row }));

const ROWS: Record<string, Row[]> = {
  'an error that is answered with a 5xx, wherever it was thrown': [
    ...each('/', 'thrown thrown/at-once thrown/text sent to-json view error-handler', {
      status: 500,
      events: 1,
    }),
    ...each('/hook/', 'onRequest preParsing preValidation preHandler', { status: 500, events: 1 }),
    // They fail again on the page that shows the id.
    ...each('/', 'hook/preSerialization hook/onSend serializer', {
      status: 500,
      events: 1,
      shown: false,
    }),
    { path: '/thrown/503', status: 503, events: 1 },
    { path: '/after-body', ...POST, status: 500, events: 1 },
    { path: '/lost/page', route: 'unmatched', status: 500, events: 1, traced: false },
  ],
  'an error that is answered with a 4xx, whatever sets the status': [
    ...each('/404/', 'status-code status reply-code mapped hook not-found', {
      status: 404,
      events: 0,
    }),
    { path: '/schema', status: 400, events: 0 },
    { path: '/no-json', ...POST, body: 'no JSON', status: 400, events: 0 },
    { path: '/no/such/page', route: 'unmatched', status: 404, events: 0, traced: false },
  ],
  'an error with statusCode 404 that is answered with 502': [
    { path: '/502', status: 502, events: 1 },
  ],
  'captured by the application, then thrown': [
    // Its id is the SDK's: a documented limit.
    { path: '/captured', status: 500, events: 1, shown: false, linked: false },
  ],
  'a 500 without an error': [{ path: '/500', status: 500, events: 0 }],
  'a stream that breaks after its headers': each('/break/', 'node web gzip proxied', {
    status: 0,
    events: 1,
    counted: 500,
  }),
  'a stream that fails before its headers': [
    { path: '/open/404', status: 404, events: 0 },
    { path: '/open/500', status: 500, events: 1 },
  ],
  'a handler that exceeds its handlerTimeout': [{ path: '/timeout', status: 503, events: 1 }],
  'a client that disconnects': each('/leave/', 'node web gzip proxied aborted', {
    status: 0,
    events: 0,
    counted: 499,
    leaves: true,
  }),
  'an error that the handler throws after the client has disconnected': [
    { path: '/leave/thrown', status: 0, events: 1, counted: 499, leaves: true, linked: false },
  ],
  'a span in a request': [
    { path: '/traced', status: 200, events: 0 },
    { path: '/untraced', status: 200, events: 0, traced: false },
  ],
};

for (const rate of ['1', '0']) {
  for (const http of [1, 2]) {
    test(`at trace rate ${rate}, over HTTP/${http}`, async (t) => {
      const app = await startApp(t, { SENTRY_TRACES_SAMPLE_RATE: rate, HTTP: String(http) });
      const answers = new Map<Row, Answer>();
      for (const row of Object.values(ROWS).flat())
        answers.set(row, await app.visit(row.path, row));
      const metrics = await app.end(answers.size);
      for (const [what, rows] of Object.entries(ROWS)) {
        await t.test(what, async (t) => {
          for (const row of rows) {
            const answer = answers.get(row) as Answer;
            await t.test(row.path, () => {
              // Node.js ends a broken stream of HTTP/2 as if it were complete.
              const isCut = row.status === 0 && !(http === 2 && row.counted === 500);
              assert.equal(answer.status, isCut ? 0 : row.status || 200);
              check(row, rate === '1' && row.traced !== false, answer, { ...app, metrics });
            });
          }
        });
      }
      const rows = [...answers.keys()];
      const [failed, traced] = [
        rows.filter(({ events }) => events === 1),
        rows.filter((row) => rate === '1' && row.traced !== false),
      ];
      assert.equal(app.sink.items('event').length, failed.length, 'no other event');
      assert.equal(app.sink.items('transaction').length, traced.length, 'no stray trace');
      const late = app.log.flatMap(({ late }) => late ?? []);
      assert.deepEqual(late, [499], 'onEnd after the client has left');
    });
  }
}

interface Seen {
  sink: EnvelopeSink;
  log: LogLine[];
  metrics: string;
}

/** One id everywhere: header, page, log line, event, exemplar, trace. */
function check(row: Row, isTraced: boolean, answer: Answer, seen: Seen) {
  const { method = 'GET', path, route = path, counted = row.status } = row;
  const name = `${method} ${route}`;
  const events = seen.sink.items('event').filter(({ user }) => user?.id === path);
  assert.equal(events.length, row.events, 'events');
  const [event] = events;
  const uuid = event?.event_id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  const lines = seen.log.filter((line) => (line.req as { url: string })?.url === path);
  const traceId = lines[0]?.trace_id;
  // A client that disconnects before the response sees no header.
  if (answer.traceId) assert.equal(answer.traceId, traceId, 'the header');
  if (event) {
    assert.equal(event.contexts.trace.trace_id, traceId, "the event's trace");
    assert.equal(event.transaction, name);
    assert.match(event.request.url, new RegExp(`^http://127.0.0.1:\\d+${path}$`));
    assert.equal(event.request.method, method);
    assert.deepEqual(event.tags, { path });
    const messages = event.breadcrumbs.map(({ message }: { message: string }) => message);
    assert.deepEqual(messages, [path]);
    const isCaptured = path === '/captured';
    assert.equal(event.exception.values.at(-1).mechanism.handled, isCaptured);
    if (row.shown !== false && row.status) {
      assert.deepEqual(JSON.parse(answer.body), { eventId: uuid, id: traceId }, 'the page');
    }
  }

  const traces = seen.sink
    .items('transaction')
    .filter(({ contexts }) => contexts.trace.trace_id === traceId);
  assert.equal(traces.length, Number(isTraced), 'traces');
  if (row.linked === false) return;
  if (isTraced) {
    const { data, op } = traces[0].contexts.trace;
    assert.equal(traces[0].transaction, name);
    assert.equal(op, 'http.server');
    assert.equal(data['http.response.status_code'], counted);
    assert.equal(data['sentry.event_id'], uuid, "the trace's event");
  }
  if (route !== path) return;
  const series = `{method="${method}",endpoint="${route}",status_code="${counted}"}`;
  assert.ok(seen.metrics.includes(`http_request_duration_seconds_count${series} 1\n`), series);
  const buckets = seen.metrics.matchAll(/_bucket\{.*endpoint="(.*?)".*\} 1 # \{(.*?)\}/g);
  const exemplars = [...buckets].filter(([, endpoint]) => endpoint === route);
  const labels = [isTraced && `trace_id="${traceId}"`, uuid && `event_uuid="${uuid}"`];
  const expected = labels.filter(Boolean).join(',');
  assert.deepEqual(
    exemplars.map(([, , labels]) => labels),
    expected ? [expected] : [],
    'exemplars',
  );
}

for (const rate of ['1', '0']) {
  test(`40 requests at once, at trace rate ${rate}: each event has its own data`, async (t) => {
    const app = await startApp(t, { SENTRY_TRACES_SAMPLE_RATE: rate });
    const visitors = Array.from({ length: 40 }, async (_, id) => {
      const { traceId } = await app.visit(`/crowd/${id}`, id % 2 ? POST : {});
      return { id: String(id), traceId };
    });
    const crowd = await Promise.all(visitors);
    await eventually(() => assert.equal(app.sink.items('event').length, 3 * crowd.length));
    const metrics = await app.end(crowd.length);
    assert.match(metrics, /endpoint="\/crowd\/:id",status_code="500"\} 20$/m);
    for (const { id, traceId } of crowd) {
      const isOwn = ({ user }: { user: { id: string } }) => user.id === id;
      const own = app.sink.items('event').filter(isOwn);
      const facts = own.map(({ exception, tags, breadcrumbs, contexts, request }) => ({
        message: exception.values[0].value,
        tags,
        breadcrumbs: breadcrumbs.map(({ message }: { message: string }) => message),
        traceId: contexts.trace.trace_id,
        path: new URL(request.url).pathname,
      }));
      const path = `/crowd/${id}`;
      const rest = { tags: { path, id }, breadcrumbs: [path, id], traceId, path };
      const messages = ['a promise', 'a timer', 'the answer'].map((when) => `${when} of ${id}`);
      const byMessage = facts.sort((a, b) => a.message.localeCompare(b.message));
      assert.deepEqual(
        byMessage,
        messages.map((message) => ({ message, ...rest })),
      );
    }
    assert.equal(app.sink.items('transaction').length, rate === '1' ? crowd.length : 0);
  });
}

const [TRACE, SPAN] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
const w3c = (start: string, end = '-01') => ({ traceparent: `${start}-${TRACE}-${SPAN}${end}` });
const own = (flag: string) => ({ 'sentry-trace': `${TRACE}-${SPAN}${flag}` });
const by = (organization: number) => ({
  ...own('-1'),
  baggage: `sentry-trace_id=${TRACE},sentry-org_id=${organization}`,
});

/** What a caller sends; who decides to record the trace, if it is continued at all. */
const CALLERS: [string, Record<string, string>, 'recorded' | 'dropped' | 'undecided' | 'new'][] = [
  ['nothing', {}, 'new'],
  ['traceparent, recorded', w3c('00'), 'recorded'],
  ['traceparent, not recorded', w3c('00', '-00'), 'dropped'],
  ['sentry-trace, recorded', own('-1'), 'recorded'],
  ['sentry-trace, not recorded', own('-0'), 'dropped'],
  ['sentry-trace, undecided', own(''), 'undecided'],
  ["sentry-trace, beside a proxy's traceparent", { ...w3c('00', '-00'), ...own('-1') }, 'recorded'],
  ['traceparent, beside a malformed one', { ...w3c('00'), 'sentry-trace': 'no' }, 'recorded'],
  ['a later version with more fields', w3c('01', '-01-more'), 'recorded'],
  ['version 00 with more fields', w3c('00', '-01-more'), 'new'],
  ['version ff', w3c('ff'), 'new'],
  ['no trace id', { traceparent: `00-${'0'.repeat(32)}-${SPAN}-01` }, 'new'],
  ['no span id', { traceparent: `00-${TRACE}-${'0'.repeat(16)}-01` }, 'new'],
  ['nonsense', { traceparent: 'nonsense', 'sentry-trace': 'nonsense' }, 'new'],
  ['the same organization', by(1), 'recorded'],
  ['another organization', by(2), 'new'],
];

for (const rate of ['1', '0']) {
  test(`the trace of a caller is continued, at trace rate ${rate}`, async (t) => {
    const app = await startApp(t, {
      SENTRY_TRACES_SAMPLE_RATE: rate,
      SENTRY_OPTIONS: JSON.stringify({ orgId: '1' }),
    });
    const answers: Answer[] = [];
    for (const [id, [, headers]] of CALLERS.entries()) {
      answers.push(await app.visit(`/caller/${id}`, { headers }));
    }
    await app.end(CALLERS.length);
    const traces = app.sink.items('transaction');
    for (const [id, [what, , decision]] of CALLERS.entries()) {
      const traceId = answers[id]?.traceId;
      const isRecorded = decision === 'recorded' || (decision !== 'dropped' && rate === '1');
      const trace = traces.find(({ user }) => user.id === `/caller/${id}`);
      await t.test(what, () => {
        assert.match(traceId ?? '', /^(?!0{32})[0-9a-f]{32}$/);
        assert.equal(traceId === TRACE, decision !== 'new');
        assert.equal(trace !== undefined, isRecorded, 'recorded');
        if (!isRecorded) return;
        const { trace_id, span_id, parent_span_id } = trace.contexts.trace;
        assert.equal(trace_id, traceId);
        assert.equal(parent_span_id, decision === 'new' ? undefined : SPAN);
        const [{ description, parent_span_id: parent }] = trace.spans;
        assert.deepEqual([description, parent], ['work', span_id]);
      });
    }
  });
}

test('a stream that exceeds its handlerTimeout, over HTTP/1', async (t) => {
  const app = await startApp(t);
  await app.visit('/break/timeout');
  const metrics = await app.end(1);
  assert.match(metrics, /endpoint="\/break\/timeout",status_code="500"\} 1$/m);
  const [event, none] = app.sink.items('event');
  assert.match(event.exception.values[0].value, /^Request timed out/);
  assert.deepEqual([event.user.id, none], ['/break/timeout', undefined]);
});

test('what a request fetches from another service is in its trace', async (t) => {
  const app = await startApp(t);
  const { traceId } = await app.visit('/fetch');
  await app.end(2);
  const [inner, outer] = app.sink.items('transaction').map(({ contexts, spans }) => ({
    ...contexts.trace,
    spans: spans.map(({ op, span_id }: { op: string; span_id: string }) => [op, span_id]),
  }));
  assert.deepEqual([outer.trace_id, inner.trace_id], [traceId, traceId]);
  assert.deepEqual(outer.spans, [['http.client', inner.parent_span_id]]);
});

test("an application's tracesSampler decides", async (t) => {
  const app = await startApp(t, { SENTRY_TRACES_SAMPLE_RATE: '0', SAMPLED_ROUTE: '/traced' });
  for (const path of ['/traced', '/thrown', '/traced']) await app.visit(path);
  await app.end(3);
  const names = app.sink.items('transaction').map(({ transaction }) => transaction);
  assert.deepEqual(names, ['GET /traced', 'GET /traced']);
});

test('there are no more traces than maxTracesPerSecond, and no error is lost', async (t) => {
  const app = await startApp(t, { MAX_TRACES_PER_SECOND: '2' });
  const began = Date.now();
  await Promise.all(Array.from({ length: 30 }, () => app.visit('/thrown')));
  const allowed = 2 + 2 * Math.ceil((Date.now() - began) / 1000);
  await sleep(1_000);
  await app.visit('/traced');
  await app.end(31);
  assert.equal(app.sink.items('event').length, 30);
  const names = app.sink.items('transaction').map(({ transaction }) => transaction);
  const traces = names.filter((name) => name === 'GET /thrown').length;
  assert.ok(traces >= 2 && traces <= allowed, `${traces} traces, ${allowed} allowed`);
  assert.equal(names.at(-1), 'GET /traced', 'a second later there is room again');
});

/** The application, with a sink for a tracker. */
async function startApp(t: TestContext, environment: Record<string, string> = {}) {
  const sink = await startEnvelopeSink(t);
  const settings = { SENTRY_DSN: sink.dsn, ...environment };
  const app = await spawnApp(t, settings, 'test/fixtures/monitored/server.js');
  return {
    sink,
    log: app.log,
    visit: (path: string, options?: Visit) =>
      visit(app.url + path, options, environment.HTTP === '2'),

    /**
     * Stops the application once that many requests have ended, and returns what was in /metrics.
     */
    async end(requests: number): Promise<string> {
      const metrics = await eventually(async () => {
        const text = await (await fetch(app.metricsUrl)).text();
        const counts = text.matchAll(/^http_request_duration_seconds_count\{.*\} (\d+)$/gm);
        assert.equal(
          [...counts].reduce((sum, [, count]) => sum + Number(count), 0),
          requests,
        );
        return text;
      });
      assert.equal(await app.stop(), 0);
      return metrics;
    },
  };
}
