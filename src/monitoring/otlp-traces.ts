/** Sends what the SDK traces to an OpenTelemetry collector, such as Jaeger: https://opentelemetry.io/docs/specs/otlp/ */
import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Counter } from 'prom-client';

type Span = ReturnType<typeof Sentry.spanToJSON>;
type Attributes = Record<string, unknown>;

export interface TraceExportOptions {
  /** OTLP over HTTP, such as http://localhost:4318/v1/traces. Nothing is sent without one. */
  endpoint: string;
  serviceName: string;
  /** Milliseconds to send the last spans when the application closes, 2000 by default. */
  flushTimeout?: number;
}

/** Milliseconds between two batches, and until a collector that does not answer counts as unreachable. */
const INTERVAL = 1_000;
const TIMEOUT = 5_000;
/** How many spans are queued at most, at about a kilobyte each. As many again may be in flight. */
const MAX_QUEUED = 2048;

const spansLost = new Counter({
  name: 'otlp_spans_lost_total',
  help: 'Spans that did not reach the OpenTelemetry collector',
  labelNames: ['reason'],
});
for (const reason of ['network_error', 'http_error', 'rejected', 'queue_overflow', 'shutdown']) {
  spansLost.inc({ reason }, 0);
}

/** Register it once per process, after the monitoring: it sends all spans of the process. */
async function otlpTraces(app: FastifyInstance, options: TraceExportOptions) {
  const { endpoint, serviceName, flushTimeout = 2_000 } = options;
  const client = Sentry.getClient();
  if (!endpoint || !client) return;

  const { release, environment } = client.getOptions();
  const resource = toKeyValues({
    'service.name': serviceName,
    'service.version': release,
    'deployment.environment.name': environment,
  });
  let queue: Span[] = [];
  let inFlight: Span[] = [];
  let sending: Promise<void> | undefined;
  let hasWarned = false;

  function lose(reason: string, count: number, why: unknown): void {
    spansLost.inc({ reason }, count);
    // Once, and not for each batch while the collector is unreachable: the metric keeps counting.
    if (!hasWarned) app.log.warn({ endpoint, reason, why }, 'spans did not reach the collector');
    hasWarned = true;
  }

  async function post(spans: Span[]): Promise<void> {
    const scopeSpans = [{ scope: { name: '@sentry/node' }, spans: spans.map(toOtlp) }];
    const body = { resourceSpans: [{ resource: { attributes: resource }, scopeSpans }] };
    // Not a breadcrumb of what the process reports next.
    const response = await Sentry.suppressTracing(() =>
      fetch(endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT),
      }),
    );
    const answer = await response.text();
    const [, rejected] = /"rejectedSpans":\s*"?([1-9]\d*)/.exec(answer) ?? [];
    if (!response.ok) lose('http_error', spans.length, response.status);
    else if (rejected) lose('rejected', Number(rejected), answer);
    else hasWarned = false;
  }

  function send(): Promise<void> {
    if (sending || queue.length === 0) return sending ?? Promise.resolve();
    [inFlight, queue] = [queue, []];
    sending = post(inFlight)
      .catch((error: Error) => lose('network_error', inFlight.length, String(error.cause ?? error)))
      .finally(() => {
        inFlight = [];
        sending = undefined;
      });
    return sending;
  }

  const unsubscribe = client.on('afterSpanEnd', (span) => {
    if ((span.spanContext().traceFlags & 1) === 0) return;
    if (queue.length < MAX_QUEUED) queue.push(Sentry.spanToJSON(span));
    else lose('queue_overflow', 1, `${MAX_QUEUED} are queued`);
  });
  // Not a timer that starts with a span: it would keep everything of that span's request in memory.
  const timer = setInterval(send, INTERVAL).unref();

  app.addHook('onClose', async () => {
    clearInterval(timer);
    // The batch in flight, and then the rest.
    const flush = send().then(send);
    await Promise.race([flush, sleep(flushTimeout, undefined, { ref: false })]);
    unsubscribe();
    const unsent = inFlight.length + queue.length;
    if (unsent > 0) lose('shutdown', unsent, `no answer in ${flushTimeout} ms`);
  });
}

const KINDS: Record<string, number> = { server: 2, client: 3, producer: 4, consumer: 5 };
const INTERNAL = 1;

/** A span in OTLP's format, with OpenTelemetry's semantic conventions. */
function toOtlp({ attributes, ...span }: Span) {
  // Sentry has no span kinds: an operation such as "http.server" implies one.
  const operation = String(attributes['otel.kind'] ?? attributes['sentry.op']);
  const status = attributes['http.response.status_code'];
  // To Sentry a 404 is an error of the span, to OpenTelemetry the client's.
  const isFailed = status === undefined ? span.status === 'error' : Number(status) >= 500;
  return {
    traceId: span.trace_id,
    spanId: span.span_id,
    parentSpanId: span.parent_span_id,
    name: span.name,
    kind: KINDS[operation.split('.').at(-1)?.toLowerCase() ?? ''] ?? INTERNAL,
    startTimeUnixNano: nanoseconds(span.start_timestamp),
    endTimeUnixNano: nanoseconds(span.end_timestamp ?? span.start_timestamp),
    attributes: toKeyValues(attributes),
    status: { code: isFailed ? 2 : 0 },
  };
}

/** A number of seconds is exact to the microsecond. As a number of nanoseconds it would not fit. */
const nanoseconds = (seconds: number) => `${Math.round(seconds * 1e6)}000`;

const toKeyValues = (values: Attributes) =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ key, value: toAnyValue(value) }));

function toAnyValue(value: unknown) {
  if (Number.isSafeInteger(value)) return { intValue: String(value) };
  if (Number.isFinite(value)) return { doubleValue: value };
  return typeof value === 'boolean' ? { boolValue: value } : { stringValue: String(value) };
}

export default fp(otlpTraces, { name: 'otlp-traces' });
