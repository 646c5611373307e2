import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFORMANCE_SERVER, startCases } from './helpers/cases.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { readOpenMetrics } from './helpers/open-metrics.ts';
import { type LogLine, spawnApp } from './helpers/spawn-app.ts';

const CALLER = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };

const linesOf = (log: LogLine[], traceId: string | null) =>
  log.filter(({ trace_id }) => trace_id === traceId);

test('one id leads from the page to the log, the event, the metric and the trace', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  const response = await app.get('/trigger-error/');
  const html = await response.text();
  const traceId = response.headers.get('x-trace-id');
  const eventId = eventIdOn(html);
  assert.match(traceId ?? '', /^[0-9a-f]{32}$/);
  assert.ok(html.includes(`id="trace-id">${traceId}<`), 'the page');

  const lines = await eventually(() => {
    const lines = linesOf(app.log, traceId);
    assert.equal(lines.length, 3);
    return lines;
  });
  assert.deepEqual(
    lines.map(({ msg, event_id }) => [msg, event_id]),
    [
      ['incoming request', undefined],
      ['request failed', eventId],
      ['request completed', eventId],
    ],
  );

  const [event, transaction] = await eventually(() => {
    const all = [sink.items('event')[0], sink.items('transaction')[0]];
    assert.ok(all[0] && all[1]);
    return all;
  });
  assert.equal(event.event_id, eventId);
  assert.equal(event.contexts.trace.trace_id, traceId, 'the event');
  assert.equal(transaction.contexts.trace.trace_id, traceId, 'the trace');

  const metrics = await readOpenMetrics(app.metricsUrl);
  const exemplar =
    /http_request_duration_seconds_bucket\{.*endpoint="\/trigger-error\/".*\} 1 # \{(.*?)\}/.exec(
      metrics,
    )?.[1];
  const uuid = String(eventId).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  assert.equal(exemplar, `trace_id="${traceId}",event_uuid="${uuid}"`, 'the metric');
});

test('a trace that comes in is continued, with its decision whether to record it', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  for (const flags of ['01', '00']) {
    const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-${flags}`;
    const response = await app.get('/my-view?seconds=0', { headers: { traceparent } });
    assert.equal(response.headers.get('x-trace-id'), CALLER.traceId);
  }
  await app.stop();
  const transactions = sink.items('transaction');
  assert.equal(transactions.length, 1, 'only the trace that the caller records');
  assert.equal(transactions[0].contexts.trace.trace_id, CALLER.traceId);
  assert.equal(transactions[0].contexts.trace.parent_span_id, CALLER.spanId);
  assert.equal(linesOf(app.log, CALLER.traceId).length, 4);
});

test('a malformed traceparent begins a new trace', async (t) => {
  const app = await spawnApp(t);
  for (const traceparent of [
    'nonsense',
    `00-${'0'.repeat(32)}-${CALLER.spanId}-01`,
    `00-${CALLER.traceId}-${'0'.repeat(16)}-01`,
    `00-${CALLER.traceId.toUpperCase()}-${CALLER.spanId}-01`,
    `00-${CALLER.traceId}-${CALLER.spanId}-01, 00-${CALLER.traceId}-${CALLER.spanId}-01`,
  ]) {
    const response = await app.get('/healthz', { headers: { traceparent } });
    assert.match(response.headers.get('x-trace-id') ?? '', /^(?!0{32})[0-9a-f]{32}$/);
    assert.notEqual(response.headers.get('x-trace-id'), CALLER.traceId, traceparent);
  }
});

test('only requests that were traced or failed leave an exemplar', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' });
  await app.get('/my-view?seconds=0');
  await app.get('/no/such/page');
  const exemplars = async () =>
    (await readOpenMetrics(app.metricsUrl)).split('\n').filter((line) => line.includes(' # {'));
  assert.deepEqual(await exemplars(), []);
  await app.get('/trigger-error/');
  await eventually(async () => assert.equal((await exemplars()).length, 1));
  const [exemplar] = await exemplars();
  assert.match(exemplar ?? '', / # \{event_uuid="[0-9a-f-]{36}"\}/, 'it has no trace to lead to');
});

test('a traced page has a span for its own work', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  await app.get('/my-view?seconds=0.05');
  await app.stop();
  const [transaction] = sink.items('transaction');
  assert.equal(transaction.transaction, 'GET /my-view');
  assert.equal(transaction.transaction_info.source, 'route');
  assert.equal(transaction.contexts.trace.op, 'http.server');
  assert.deepEqual(
    transaction.spans.map(({ op, description }: { op: string; description: string }) => [
      op,
      description,
    ]),
    [['function', 'your code']],
  );
});

test('a flood of requests begins no flood of traces, and loses no error', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, SENTRY_MAX_TRACES_PER_SECOND: '2' });
  const began = Date.now();
  await Promise.all(Array.from({ length: 20 }, () => app.get('/my-view?seconds=0')));
  await Promise.all(Array.from({ length: 10 }, () => app.get('/trigger-error/')));
  const allowed = 2 + 2 * Math.ceil((Date.now() - began) / 1000);
  await app.stop();
  const traces = sink.items('transaction').length;
  assert.ok(traces >= 2 && traces <= allowed, `${traces} traces, ${allowed} allowed`);
  assert.equal(sink.items('event').length, 10);
});

test("the lines that the SDK's pinoIntegration sends are in the trace of their request", async (t) => {
  const app = await startCases(t, { WITH_PINO: 'yes' });
  const [answer] = await app.ask(app.caseOf('nothing at all'));
  await app.settled();
  const lines = app.sink.items('log').flatMap(({ items }) => items);
  const own = lines.filter(({ attributes }) => attributes.trace_id?.value === answer?.traceId);
  assert.deepEqual(
    own.map(({ body, trace_id }) => [body, trace_id]),
    ['incoming request', 'request completed'].map((body) => [body, answer?.traceId]),
  );
});

for (const OWN_IDS of ['requestIdHeader', 'setGenReqId']) {
  test(`ids of the application's own are refused at its start: ${OWN_IDS}`, async (t) => {
    await assert.rejects(
      spawnApp(t, { OWN_IDS }, CONFORMANCE_SERVER),
      new RegExp(`Monitoring needs its ids: .* ${OWN_IDS}`),
    );
  });
}
