import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import * as Sentry from '@sentry/node';
import { LogController } from 'fastify';

export type TraceContext = ReturnType<Sentry.Scope['getPropagationContext']>;
interface RawRequest {
  headers: IncomingHttpHeaders;
}

/** https://www.w3.org/TR/trace-context/: version ff is invalid, later versions may add fields. */
const TRACEPARENT =
  /^(?!ff|00-.{52}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const SENTRY_TRACE = /^(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}(?:-[01])?$/;

/** The caller's trace as a `sentry-trace` header: from that header, or else from `traceparent`. */
function callersTrace({ traceparent, 'sentry-trace': sentryTrace }: IncomingHttpHeaders) {
  if (SENTRY_TRACE.test(String(sentryTrace))) return String(sentryTrace);
  const [, traceId, spanId, flags = ''] = TRACEPARENT.exec(String(traceparent)) ?? [];
  return traceId && `${traceId}-${spanId}-${Number.parseInt(flags, 16) & 1}`;
}

const contexts = new WeakMap<RawRequest, TraceContext>();

/** The trace that a request belongs to: the caller's, or a new one. The same on each call. */
export function traceContextOf(raw: RawRequest): TraceContext {
  const known = contexts.get(raw);
  if (known) return known;
  const context = newTraceContext(raw.headers);
  contexts.set(raw, context);
  return context;
}

function newTraceContext(headers: IncomingHttpHeaders): TraceContext {
  const sentryTrace = callersTrace(headers);
  if (!sentryTrace) {
    return { traceId: randomUUID().replaceAll('-', ''), sampleRand: Math.random() };
  }
  // The SDK decides: it does not continue the trace of another organization.
  const baggage = headers.baggage as string | undefined;
  return Sentry.continueTrace({ sentryTrace, baggage }, () =>
    Sentry.getCurrentScope().getPropagationContext(),
  );
}

/** Fastify's options that make the trace id the request id, in every log line, too. */
export const traceIds = {
  genReqId: (raw: RawRequest) => traceContextOf(raw).traceId,
  logController: new LogController({ requestIdLogLabel: 'trace_id' }),
};
