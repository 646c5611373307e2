/**
 * What src/monitoring/otlp-traces.ts sends, against a sink. What Jaeger does with it is tested in
 * test/stack.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { startOtlpSink } from './helpers/otlp-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults } from './helpers/tracker.ts';

const [INTERNAL, SERVER] = [1, 2];
const ERROR = 2;
const CALLER = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };

async function start(t: TestContext, environment: Record<string, string> = {}) {
  const sink = await startOtlpSink(t);
  const settings = { OTLP_ENDPOINT: sink.endpoint, ...environment };
  const app = await spawnApp(t, settings, 'test/fixtures/monitored/server.js');
  const lost = async (reason: string) => app.metric(`otlp_spans_lost_total{reason="${reason}"}`);
  const warnings = () => app.log.filter(({ msg }) => msg === 'spans did not reach the collector');
  return { ...app, sink, lost, warnings };
}

test('spans arrive as OpenTelemetry describes them', async (t) => {
  const tracker = await startEnvelopeSink(t);
  const app = await start(t, { SENTRY_DSN: tracker.dsn, SENTRY_ENVIRONMENT: 'staging' });
  const before = Date.now();
  const response = await app.get('/traced');
  const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}`;
  await app.get('/thrown', { headers: { traceparent: `${traceparent}-01` } });
  await app.get('/404/status');
  await app.get('/traced', { headers: { traceparent: `${traceparent}-00` } });
  await eventually(() => assert.equal(app.sink.spans.length, 4));
  const the = (wanted: string) => app.sink.spans.find(({ name }) => name === wanted);
  const [page, work, failed, refused] = [
    'GET /traced',
    'work',
    'GET /thrown',
    'GET /404/status',
  ].map(the);
  assert.ok(page && work && failed && refused);

  const traceId = response.headers.get('x-trace-id');
  assert.deepEqual([page.traceId, work.traceId], [traceId, traceId]);
  assert.deepEqual([page.parentSpanId, work.parentSpanId], [undefined, page.spanId]);
  assert.deepEqual([page.kind, work.kind], [SERVER, INTERNAL]);
  assert.equal(page.attributes['http.request.method'], 'GET');
  assert.equal(page.attributes['http.route'], '/traced');
  assert.equal(page.attributes['http.response.status_code'], '200');
  assert.equal(page.resource['service.name'], 'shop');
  assert.equal(page.resource['deployment.environment.name'], 'staging');
  // It is the unit that could be wrong.
  const began = Number(BigInt(page.startTimeUnixNano) / 1_000_000n);
  assert.ok(Math.abs(began - before) < 60_000, `${before} ${began}`);
  assert.ok(work.endTimeUnixNano <= page.endTimeUnixNano);

  assert.deepEqual([failed.traceId, failed.parentSpanId], [CALLER.traceId, CALLER.spanId]);
  assert.equal(failed.status.code, ERROR);
  const eventId = String(failed.attributes['sentry.event_id']).replaceAll('-', '');
  assert.equal(
    eventId,
    (await eventually(() => tracker.items('event')[0] ?? assert.fail())).event_id,
  );
  // A client's mistake is not an error of the server.
  assert.notEqual(refused.status.code, ERROR);
});

test('while a collector is down, lost spans are counted, and logged once, until it is back', async (t) => {
  const app = await start(t);
  const partial = '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}';
  for (const [reason, fault] of [
    ['http_error', faults.status(503)],
    ['network_error', faults.garbage],
    ['rejected', (_request, response) => response.end(partial)],
  ] as [string, Parameters<typeof app.sink.answerWith>[0]][]) {
    assert.equal(await app.lost(reason), 0, 'the series is there before the first loss');
    app.sink.answerWith(fault);
    await app.get('/404/status');
    await eventually(async () => assert.equal(await app.lost(reason), 1));
  }
  assert.deepEqual(
    app.warnings().map(({ reason }) => reason),
    ['http_error'],
  );
  app.sink.answerWith(undefined);
  await app.get('/traced');
  await eventually(() => assert.equal(app.sink.spans.length, 2));
  app.sink.answerWith(faults.status(500));
  await app.get('/traced');
  await eventually(() => assert.equal(app.warnings().length, 2));
});

test('the queue of spans is limited, and flushed on shutdown', async (t) => {
  const app = await start(t);
  await app.get('/traced?spans=3000');
  const lost = Number(await app.lost('queue_overflow'));
  assert.ok(lost > 900, `${lost} of 3001`);
  await eventually(() => assert.ok(app.sink.spans.length > 2_000));
  await app.get('/404/status');
  assert.equal(await app.stop(), 0);
  assert.equal(app.sink.spans.length, 3001 - lost + 1);
});

test('a collector that never answers does not delay the shutdown', async (t) => {
  const app = await start(t);
  app.sink.answerWith(faults.never);
  await app.get('/traced');
  assert.equal(await app.stop(), 0);
  assert.deepEqual(
    app.warnings().map(({ reason }) => reason),
    ['shutdown'],
  );
});

test('without an endpoint nothing is sent, and the tracker still gets its transactions', async (t) => {
  const tracker = await startEnvelopeSink(t);
  const app = await start(t, { SENTRY_DSN: tracker.dsn, OTLP_ENDPOINT: '' });
  await app.get('/traced');
  assert.equal(await app.stop(), 0);
  assert.equal(tracker.items('transaction').length, 1);
  assert.deepEqual([app.sink.spans, app.warnings()], [[], []]);
});
