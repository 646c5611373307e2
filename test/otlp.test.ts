/** What the application sends as OTLP, against a sink. The real collector's answer is in test/stack. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { startOtlpSink } from './helpers/otlp-sink.ts';
import { readSeries, sumOf } from './helpers/series.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

const [INTERNAL, SERVER] = [1, 2];
const ERROR = 2;
const CALLER = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
const asUuid = (id = '') => id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

test('a traced page arrives with its own work, by the semantic conventions', async (t) => {
  const sink = await startOtlpSink(t);
  // Without a tracker: the two do not depend on each other.
  const app = await spawnApp(t, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint,
    OTEL_SERVICE_NAME: 'shop',
    SENTRY_ENVIRONMENT: 'staging',
  });
  const before = Date.now();
  const response = await app.get('/my-view?seconds=0.2');
  const after = Date.now();
  const [work, page] = await eventually(() => {
    assert.equal(sink.spans.length, 2);
    return sink.spans;
  });
  assert.ok(work && page);

  const traceId = response.headers.get('x-trace-id');
  assert.deepEqual([page.traceId, work.traceId], [traceId, traceId]);
  assert.equal(work.parentSpanId, page.spanId);
  assert.equal(page.parentSpanId, undefined);
  assert.deepEqual([page.name, page.kind], ['GET /my-view', SERVER]);
  assert.deepEqual([work.name, work.kind], ['your code', INTERNAL]);
  assert.equal(page.attributes['http.request.method'], 'GET');
  assert.equal(page.attributes['http.route'], '/my-view');
  assert.equal(page.attributes['http.response.status_code'], '200');
  assert.equal(page.resource['service.name'], 'shop');
  assert.match(String(page.resource['service.version']), /^\d+\.\d+\.\d+$/);
  assert.equal(page.resource['deployment.environment.name'], 'staging');

  const milliseconds = (nanoseconds: string) => Number(BigInt(nanoseconds) / 1_000_000n);
  const [start, end] = [milliseconds(page.startTimeUnixNano), milliseconds(page.endTimeUnixNano)];
  // Two processes, two clocks: it is the unit that could be wrong.
  assert.ok(start >= before - 1000 && end <= after + 1000, `${before} ${start} ${end} ${after}`);
  assert.ok(milliseconds(work.startTimeUnixNano) >= start);
  assert.ok(milliseconds(work.endTimeUnixNano) <= end);
  assert.ok(end - start >= 199);
});

test('a failed page is an error and names its event; what a client did wrong is none', async (t) => {
  const tracker = await startEnvelopeSink(t);
  const sink = await startOtlpSink(t);
  const app = await spawnApp(t, {
    SENTRY_DSN: tracker.dsn,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint,
  });
  const eventId = eventIdOn(await (await app.get('/trigger-error/')).text());
  await app.get('/no/such/page');
  await app.get('/my-view?seconds=no');
  await eventually(() => assert.equal(sink.spans.length, 3));
  const the = (wanted: string) => sink.spans.find(({ name }) => name === wanted);

  const failed = the('GET /trigger-error/');
  assert.equal(failed?.status.code, ERROR);
  assert.equal(failed.attributes['sentry.event_id'], asUuid(eventId));
  assert.equal(failed.attributes['error.type'], 'RangeError');
  assert.equal(failed.attributes['http.response.status_code'], '500');
  for (const name of ['GET unmatched', 'GET /my-view']) {
    const refused = the(name);
    assert.ok(refused, name);
    assert.match(String(refused.attributes['http.response.status_code']), /^40[04]$/);
    assert.deepEqual(refused.status, {}, name);
    assert.equal(refused.attributes['sentry.event_id'], undefined);
    assert.equal(refused.attributes['error.type'], undefined);
  }
});

test('what fails at once names the event of its own request, at a hundred requests together', async (t) => {
  const tracker = await startEnvelopeSink(t);
  const sink = await startOtlpSink(t);
  const app = await spawnApp(t, {
    SENTRY_DSN: tracker.dsn,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint,
    SENTRY_MAX_TRACES_PER_SECOND: '1000',
    ERRORS_PER_SECOND: '1000',
  });
  const visits = Array.from({ length: 100 }, async () => {
    const response = await app.get('/trigger-error/other/?seconds=0.1');
    const eventId = eventIdOn(await response.text());
    return [response.headers.get('x-trace-id'), asUuid(eventId)];
  });
  const expected = Object.fromEntries(await Promise.all(visits));
  // At the stop nothing waits for its round.
  assert.equal(await app.stop(), 0);
  const roots = sink.spans.filter(({ kind }) => kind === SERVER);
  const found = roots.map((root) => [root.traceId, root.attributes['sentry.event_id']]);
  assert.deepEqual(Object.fromEntries(found), expected);
  assert.equal(roots.length, 100);
  const ids = new Map(roots.map(({ traceId, spanId }) => [traceId, spanId]));
  for (const child of sink.spans.filter(({ kind }) => kind !== SERVER)) {
    assert.equal(
      child.parentSpanId,
      ids.get(child.traceId),
      'no span has a parent of another trace',
    );
  }
});

test("a caller's span is the parent, and a trace that it does not record is not sent", async (t) => {
  const sink = await startOtlpSink(t);
  const app = await spawnApp(t, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint });
  for (const flags of ['00', '01']) {
    const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-${flags}`;
    await app.get('/my-view?seconds=0', { headers: { traceparent } });
  }
  await app.stop();
  assert.equal(sink.spans.length, 2, 'the page and its work, of one visit');
  const roots = sink.spans.filter(({ kind }) => kind === SERVER);
  assert.equal(roots.length, 1);
  assert.equal(roots[0]?.traceId, CALLER.traceId);
  assert.equal(roots[0]?.parentSpanId, CALLER.spanId);
});

test('the tracker gets its transactions beside, unless it is said to take none', async (t) => {
  for (const [setting, expected] of [
    ['true', 1],
    ['false', 0],
    ['', 0],
  ] as const) {
    const tracker = await startEnvelopeSink(t);
    const sink = await startOtlpSink(t);
    const app = await spawnApp(t, {
      SENTRY_DSN: tracker.dsn,
      SENTRY_SEND_TRANSACTIONS: setting,
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint,
    });
    await app.get('/my-view?seconds=0');
    await app.get('/healthz');
    const lost = sumOf(await readSeries(app.metricsUrl), 'sentry_events_lost_total');
    await app.stop();
    assert.equal(tracker.items('transaction').length, expected, setting);
    assert.equal(sink.spans.length, 2);
    assert.equal(lost, 0);
    assert.ok(!app.log.some(({ msg }) => msg === 'events did not reach the tracker'));
  }
});

test('transactions that the tracker refuses are not lost while a collector takes the traces', async (t) => {
  for (const hasCollector of [true, false]) {
    const tracker = await startTracker(t);
    // What Bugsink 2.6 answers to every envelope.
    const limits = { 'x-sentry-rate-limits': '86400:transaction;span:organization' };
    await tracker.fail(faults.status(200, limits));
    const sink = await startOtlpSink(t);
    const app = await spawnApp(t, {
      SENTRY_DSN: tracker.dsn,
      ...(hasCollector && { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint }),
    });
    const lost = async () =>
      sumOf(await readSeries(app.metricsUrl), 'sentry_events_lost_total{category="transaction"');
    await app.get('/trigger-error/');
    await eventually(async () => {
      await app.get('/my-view?seconds=0');
      assert.ok(hasCollector ? sink.spans.length > 4 : (await lost()) > 0);
    });
    if (hasCollector) assert.equal(await lost(), 0);
    await app.stop();
  }
});

test('a collector that fails loses spans and counts them, and the pages do not notice', async (t) => {
  const sink = await startOtlpSink(t);
  const app = await spawnApp(t, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint });
  const lost = (reason: string) => app.metric(`otlp_spans_lost_total{reason="${reason}"}`);
  assert.equal(await lost('http_error'), 0, 'the series is there before the first loss');
  const partial = '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}';
  for (const [reason, fault, count] of [
    ['http_error', faults.status(503), 2],
    ['http_error', faults.status(301, { location: '/elsewhere' }), 4],
    ['network_error', faults.garbage, 2],
    ['rejected', (_request, response) => response.end(partial), 1],
  ] as [string, Parameters<typeof sink.answerWith>[0], number][]) {
    sink.answerWith(fault);
    assert.equal((await app.get('/my-view?seconds=0')).status, 200);
    await eventually(async () => assert.equal(await lost(reason), count, reason));
  }

  sink.answerWith(undefined);
  await app.get('/my-view?seconds=0');
  await eventually(() => assert.equal(sink.spans.length, 2, 'it goes on'));

  // The last spans before the stop, to a collector that never answers.
  sink.answerWith(faults.never);
  await app.get('/my-view?seconds=0');
  assert.equal(await app.stop(), 0);
  const atTheStop = app.log.find(({ msg }) => msg.startsWith('spans did not reach the Open'));
  assert.deepEqual(atTheStop?.lost, [
    { reason: 'network_error', count: 2 },
    { reason: 'http_error', count: 4 },
    { reason: 'rejected', count: 1 },
    { reason: 'shutdown', count: 2 },
  ]);
  const said = app.log.filter(({ msg }) => msg.startsWith(`spans did not reach ${sink.endpoint}`));
  assert.equal(said.length, 1, 'an outage is said once');
  assert.match(said[0]?.msg ?? '', /it answered 503$/);
});

test('a page links its trace if that is recorded, also without a tracker, and else does not', async (t) => {
  const sink = await startOtlpSink(t);
  const app = await spawnApp(t, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint,
    JAEGER_URL: 'http://jaeger.example',
  });
  for (const path of ['/my-view?seconds=0', '/trigger-error/']) {
    for (const [flags, isLinked] of [
      ['01', true],
      ['00', false],
    ] as const) {
      const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-${flags}`;
      const html = await (await app.get(path, { headers: { traceparent } })).text();
      const link = `id="trace-link" href="http://jaeger.example/trace/${CALLER.traceId}"`;
      assert.equal(html.includes(link), isLinked, `${path} ${flags}`);
      assert.equal(html.includes('jaeger.example'), isLinked, `${path} ${flags}`);
    }
  }
});

test('what an application puts on a span arrives, whatever its type', async (t) => {
  const sink = await startOtlpSink(t);
  const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint };
  const app = await spawnApp(t, environment, 'test/fixtures/failing-server.js');
  await app.get('/odd-span');
  const span = await eventually(() => {
    const found = sink.spans.find(({ name }) => name === '123');
    assert.ok(found);
    return found;
  });
  const { 'sentry.origin': _origin, ...attributes } = span.attributes;
  assert.deepEqual(attributes, {
    integer: '9007199254740991',
    bigint: '9223372036854775807',
    'too large a bigint': '9223372036854775808n',
    circular: { values: [{ stringValue: '<ref *1> [ [Circular *1] ]' }] },
    large: 1e300,
    part: 0.5,
    none: 'NaN',
    flag: false,
    list: { values: [{ stringValue: 'a' }, { intValue: '1' }] },
    object: "[Object: null prototype] { a: 'b' }",
    long: 'x'.repeat(4096),
  });
  assert.equal(await app.metric('otlp_spans_lost_total{reason="network_error"}'), 0);
});

test('a span that cannot be written is lost alone', async (t) => {
  const sink = await startOtlpSink(t);
  const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint };
  const app = await spawnApp(t, environment, 'test/fixtures/failing-server.js');
  const lost = () => app.metric('otlp_spans_lost_total{reason="invalid"}');
  assert.equal(await lost(), 0);
  await app.get('/invalid-spans');
  await app.stop();
  assert.deepEqual(sink.spans.map(({ name }) => name).sort(), ['GET /invalid-spans', 'valid']);
  const stopped = app.log.find(({ msg }) => msg.startsWith('spans did not reach the Open'));
  assert.deepEqual(stopped?.lost, [{ reason: 'invalid', count: 4 }]);
  const said = app.log.filter(({ msg }) => msg.startsWith('a span cannot be written as OTLP'));
  assert.equal(said.length, 1, 'it is said once');
});

test("a span's links arrive, but for those that lead nowhere", async (t) => {
  const sink = await startOtlpSink(t);
  const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint };
  const app = await spawnApp(t, environment, 'test/fixtures/failing-server.js');
  await app.get('/linked-spans');
  await app.stop();
  const the = (wanted: string) => sink.spans.find(({ name }) => name === wanted);
  const attributes = [{ key: 'why', value: { stringValue: 'a batch' } }];
  assert.deepEqual(the('second')?.links, [
    { traceId: the('first')?.traceId, spanId: the('first')?.spanId, attributes },
  ]);
});

test('large spans go in bodies that a collector takes, and wait up to a limit', async (t) => {
  const sink = await startOtlpSink(t);
  const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint };
  const app = await spawnApp(t, environment, 'test/fixtures/failing-server.js');
  const overflown = () => app.metric('otlp_spans_lost_total{reason="queue_overflow"}');
  // Twice: what was sent leaves its room to others.
  for (const all of [151, 302]) {
    await app.get('/large-spans/150');
    await eventually(() => assert.equal(sink.spans.length, all));
  }
  assert.equal(await overflown(), 0);
  const largest = Math.max(...sink.sizes);
  assert.ok(largest > 900_000 && largest < 1_200_000, `${largest} bytes`);

  await app.get('/large-spans/600');
  assert.ok(Number(await overflown()) > 350, `${await overflown()}`);
  assert.equal(await app.stop(), 0);
});

test('two applications in a process send each span once, also when one of them has closed', async (t) => {
  const sink = await startOtlpSink(t);
  const environment = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: sink.endpoint };
  const app = await spawnApp(t, environment, 'test/fixtures/two-applications.js');
  for (const path of ['/ask', '/close', '/'])
    assert.equal(await (await app.get(path)).text(), 'ok');
  assert.equal(await app.stop(), 0);
  assert.deepEqual(sink.spans.map(({ name }) => name).sort(), [
    'GET /',
    'GET /ask',
    'GET /close',
    'GET /internal',
  ]);
});
