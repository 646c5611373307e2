/**
 * Sends what the SDK traces to an OpenTelemetry collector such as Jaeger, too: as OTLP/HTTP in JSON,
 * https://opentelemetry.io/docs/specs/otlp/
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { Client } from '@sentry/core';
import * as Sentry from '@sentry/node';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Counter } from 'prom-client';
import { eventUuid } from './errors.ts';
import { expectLoss } from './losses.ts';
import { copyOf } from './readable-error.ts';
import { isSampled } from './traces.ts';

type Span = Parameters<typeof Sentry.spanToJSON>[0];
type Attributes = Record<string, unknown>;

export interface TraceExportOptions {
  /** The collector's address, such as http://localhost:4318/v1/traces. Without one nothing is sent. */
  otlpEndpoint?: string;
  /** The service and the version that the traces are filed under. */
  serviceName?: string;
  version?: string;
  /** False for a tracker that keeps errors only. */
  sendTransactions?: boolean;
}

/** Milliseconds in which spans gather before they are sent together. */
const GATHER_TIME = 500;
/** Milliseconds after which a collector that does not answer counts as not reached. */
const ANSWER_TIMEOUT = 5_000;
/** How many spans wait at most, and how large they are together. What is more is lost. */
const MAX_WAITING = 4096;
const MAX_WAITING_BYTES = 16_000_000;
/** What is written as JSON at once: little enough to hold up no request, and for any collector. */
const MAX_BATCH = 512;
const MAX_BATCH_BYTES = 1_000_000;
/** Characters that are kept of a text. */
const MAX_TEXT_LENGTH = 4096;

const REASONS = [
  'network_error',
  'http_error',
  'rejected',
  'invalid',
  'queue_overflow',
  'shutdown',
] as const;
type Reason = (typeof REASONS)[number];

const INTERNAL = 1;
const SERVER = 2;
const KINDS: Record<string, number> = { server: SERVER, client: 3, producer: 4, consumer: 5 };
const STATUS_ERROR = 2;
/** OTLP's times are 64 bits of nanoseconds. */
const MAX_SECONDS = 2 ** 63 / 1e9;

const spansLost = new Counter({
  name: 'otlp_spans_lost_total',
  help: 'Spans that did not reach the OpenTelemetry collector',
  labelNames: ['reason'],
});
// A series that starts at 0 lets rate() see the first loss.
for (const reason of REASONS) spansLost.inc({ reason }, 0);

async function otlpTraces(app: FastifyInstance, options: TraceExportOptions) {
  const client = Sentry.getClient();
  const { otlpEndpoint, serviceName = 'unknown_service:node', version } = options;
  if (!client) return;
  if (options.sendTransactions === false) {
    // Before the SDK makes a copy of it, as it does for beforeSendTransaction.
    client.addEventProcessor((event) => (event.type === 'transaction' ? null : event));
  }
  if (!otlpEndpoint) return;
  // A tracker that keeps errors only may say so with a limit of a day.
  expectLoss('transaction', 'ratelimit_backoff');

  const { environment } = client.getOptions();
  applications.add(app);
  exporter ??= new Exporter(client, app.log, otlpEndpoint, {
    'service.name': serviceName,
    'service.version': version,
    'deployment.environment.name': environment,
  });
  app.addHook('onClose', async () => {
    applications.delete(app);
    if (applications.size > 0) return;
    exporter?.stop();
    exporter = undefined;
  });
}

/** The process has one, as it has one SDK client, whose spans are those of all applications in it. */
let exporter: Exporter | undefined;
const applications = new Set<FastifyInstance>();

/** Sends the spans that wait, for so many milliseconds at most, and says what was lost since the start. */
export async function sendLastSpans(timeout: number): Promise<void> {
  await exporter?.flush(timeout);
}

/** The request's span tells which event reports its failure. The SDK lets it do so also after its end. */
function nameEvent({ type, event_id, exception }: Sentry.Event): void {
  const span = Sentry.getActiveSpan();
  if (type || !event_id || !span || !Sentry.isEnabled()) return;
  const thrown = exception?.values?.at(-1);
  Sentry.getRootSpan(span).setAttributes({
    'sentry.event_id': eventUuid(event_id),
    ...(thrown?.mechanism?.handled === false && { 'error.type': thrown.type }),
  });
}

interface Waiting {
  span: Span;
  size: number;
}

class Exporter {
  #log: FastifyBaseLogger;
  #unsubscribe: (() => void)[];
  #endpoint: string;
  #resource: Attributes;
  #timer: NodeJS.Timeout;
  /** Ended just now. They are sent one round later, when the event of a failed request is known. */
  #ended: Waiting[] = [];
  #due: Waiting[] = [];
  #bytesWaiting = 0;
  #onTheirWay = 0;
  #sending: Promise<void> | undefined;
  #isReached = true;
  #hasWarnedOfInvalid = false;
  #isStopped = false;

  constructor(client: Client, log: FastifyBaseLogger, endpoint: string, resource: Attributes) {
    this.#unsubscribe = [
      client.on('afterSpanEnd', (span) => {
        if (isSampled(span)) this.#add(span);
      }),
      client.on('beforeSendEvent', nameEvent),
    ];
    this.#log = log;
    this.#endpoint = endpoint;
    this.#resource = resource;
    // Begun here and not with a span: a timer holds on to everything of the request that began it.
    this.#timer = setInterval(() => {
      void this.#send();
      this.#takeEnded();
    }, GATHER_TIME).unref();
  }

  #add(span: Span): void {
    if (this.#isStopped) return;
    const size = sizeOf(span);
    const count = this.#ended.length + this.#due.length;
    if (count < MAX_WAITING && this.#bytesWaiting + size <= MAX_WAITING_BYTES) {
      this.#ended.push({ span, size });
      this.#bytesWaiting += size;
    } else {
      this.#lose('queue_overflow', 1);
    }
  }

  async flush(timeout: number): Promise<void> {
    this.#takeEnded();
    await Promise.race([this.#send(), sleep(timeout, undefined, { ref: false })]);
    // Another application goes on, and so does this.
    if (applications.size > 1) return;
    this.#lose('shutdown', this.#due.length + this.#onTheirWay);
    this.stop();
    const { values } = await spansLost.get();
    const lost = values.filter(({ value }) => value > 0);
    if (lost.length === 0) return;
    const counts = lost.map(({ labels, value }) => ({ ...labels, count: value }));
    this.#log.warn({ lost: counts }, 'spans did not reach the OpenTelemetry collector');
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    clearInterval(this.#timer);
    this.#ended = [];
    this.#due = [];
    this.#isStopped = true;
  }

  #takeEnded(): void {
    this.#due.push(...this.#ended);
    this.#ended = [];
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#due.length > 0) {
      const batch = this.#takeBatch();
      this.#onTheirWay = batch.length;
      if (batch.length > 0) await this.#post(batch);
      this.#onTheirWay = 0;
    }
  }

  /** The next spans as JSON. A collector refuses a whole batch for one that it cannot read. */
  #takeBatch(): string[] {
    const batch: string[] = [];
    let bytes = 0;
    while (batch.length < MAX_BATCH && bytes < MAX_BATCH_BYTES) {
      const waiting = this.#due.shift();
      if (!waiting) break;
      this.#bytesWaiting -= waiting.size;
      try {
        const json = JSON.stringify(toOtlp(waiting.span));
        batch.push(json);
        bytes += json.length;
      } catch (error) {
        this.#loseInvalid(error);
      }
    }
    return batch;
  }

  async #post(spans: string[]): Promise<void> {
    try {
      const scope = JSON.stringify({ name: '@sentry/node', version: Sentry.SDK_VERSION });
      const resource = JSON.stringify({ attributes: toKeyValues(this.#resource) });
      const scopeSpans = `[{"scope":${scope},"spans":[${spans.join()}]}]`;
      const response = await fetch(this.#endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"resourceSpans":[{"resource":${resource},"scopeSpans":${scopeSpans}}]}`,
        // A redirect would become a GET, whose answer says nothing of the spans.
        redirect: 'manual',
        signal: AbortSignal.timeout(ANSWER_TIMEOUT),
      });
      const answer = await response.text();
      if (!response.ok) {
        this.#lose('http_error', spans.length, `it answered ${response.status}`);
        return;
      }
      const [, rejected = 0] = /"rejectedSpans":\s*"?(\d+)/.exec(answer) ?? [];
      this.#lose('rejected', Number(rejected), 'it rejected them');
      this.#isReached = Number(rejected) === 0;
    } catch (error) {
      const { message, cause } = error as Error;
      this.#lose('network_error', spans.length, (cause as Error)?.message || message);
    }
  }

  #lose(reason: Reason, count: number, why = ''): void {
    if (count === 0 || this.#isStopped) return;
    spansLost.inc({ reason }, count);
    // Once, and not every half a second of an outage.
    if (why && this.#isReached) {
      this.#isReached = false;
      this.#log.warn(`spans did not reach ${this.#endpoint}: ${why}`);
    }
  }

  #loseInvalid(error: unknown): void {
    this.#lose('invalid', 1);
    if (this.#hasWarnedOfInvalid) return;
    this.#hasWarnedOfInvalid = true;
    const { message } = copyOf(error);
    this.#log.warn(`a span cannot be written as OTLP, and is lost: ${message}`);
  }
}

/** About how many bytes a span keeps: those of its attributes, which can be many and long. */
function sizeOf(span: Span): number {
  const values = Object.values<unknown>(Sentry.spanToJSON(span).attributes).flat();
  return values.reduce<number>(
    (size, value) => size + (typeof value === 'string' ? value.length : 8),
    0,
  );
}

/** A span as OTLP has it, by OpenTelemetry's semantic conventions. */
function toOtlp(span: Span) {
  const json = Sentry.spanToJSON(span);
  const attributes: Attributes = json.attributes;
  const kind = kindOf(attributes);
  const statusCode = attributes['http.response.status_code'];
  // Sentry calls an answer of 404 an error of the span; for a server it is the client's.
  const hasFailed =
    kind === SERVER && statusCode !== undefined
      ? Number(statusCode) >= 500
      : json.status === 'error';
  const errorType =
    attributes['error.type'] ?? statusCode ?? attributes['sentry.status.message'] ?? '_OTHER';
  return {
    traceId: json.trace_id,
    spanId: json.span_id,
    parentSpanId: json.parent_span_id,
    name: toText(json.name),
    kind,
    startTimeUnixNano: nanoseconds(json.start_timestamp, json.name),
    endTimeUnixNano: nanoseconds(json.end_timestamp ?? json.start_timestamp, json.name),
    attributes: toKeyValues({
      ...attributes,
      'error.type': hasFailed ? String(errorType) : undefined,
    }),
    links: json.links?.filter(hasIds).map(({ trace_id, span_id, attributes = {} }) => ({
      traceId: trace_id,
      spanId: span_id,
      attributes: toKeyValues(attributes),
    })),
    status: hasFailed ? { code: STATUS_ERROR } : {},
  };
}

/** Sentry says with an operation such as "http.server" what a span is for. */
function kindOf(attributes: Attributes): number {
  const words = String(attributes['otel.kind'] ?? attributes['sentry.op']).toLowerCase();
  return KINDS[words.split('.').at(-1) ?? ''] ?? INTERNAL;
}

/** A number of seconds is right to the microsecond; as a number of nanoseconds it would not fit. */
function nanoseconds(seconds: number, name: string): string {
  if (seconds >= 0 && seconds < MAX_SECONDS) return `${Math.round(seconds * 1e6)}000`;
  throw new RangeError(`"${name}" has ${seconds} as a time, which is not one since 1970`);
}

/** A link may name a span of anybody, with ids of any form. Those of our own spans the SDK makes. */
const hasIds = ({ trace_id, span_id }: { trace_id: string; span_id: string }) =>
  /^[0-9a-f]{32}$/.test(trace_id) && /^[0-9a-f]{16}$/.test(span_id);

const toKeyValues = (values: Attributes) =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ({ key, value: toAnyValue(value) }));

/** What a collector cannot read makes it refuse all that comes with it: no NaN, no 1e300 as integer. */
function toAnyValue(value: unknown): object {
  return Array.isArray(value)
    ? { arrayValue: { values: value.map(toSingleValue) } }
    : toSingleValue(value);
}

function toSingleValue(value: unknown): object {
  const isLong = typeof value === 'bigint' && BigInt.asIntN(64, value) === value;
  if (isLong || Number.isSafeInteger(value)) return { intValue: String(value) };
  if (Number.isFinite(value)) return { doubleValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return { stringValue: toText(value) };
}

/** Not String(), which throws for an object without a prototype, such as a request's query. */
function toText(value: unknown): string {
  const text = typeof value === 'string' ? value : inspect(value, { breakLength: Infinity });
  return text.slice(0, MAX_TEXT_LENGTH);
}

export default fp(otlpTraces, { name: 'otlp-traces' });
