import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import * as Sentry from '@sentry/node';

/** What the SDK keeps of a trace: its id, the caller's span, and whether it is recorded. */
export type TraceContext = ReturnType<Sentry.Scope['getPropagationContext']>;

interface RawRequest {
  headers: IncomingHttpHeaders;
}

/** The traces that callers began, by the request that continues them. */
const continued = new WeakMap<RawRequest, TraceContext>();

/**
 * Fastify's `genReqId`: the id of a request is the id of its trace, 32 hexadecimal digits. It is the
 * caller's if the request names it, as `traceparent` or as Sentry's `sentry-trace`, or a new one.
 */
export function genReqId(raw: RawRequest): string {
  const sentryTrace = sentryTraceOf(raw.headers);
  if (!sentryTrace) return randomUUID().replaceAll('-', '');
  // Has the SDK decide whether it continues that trace, and read what `baggage` says of it.
  const { baggage } = raw.headers as { baggage?: string };
  const trace = Sentry.continueTrace({ sentryTrace, baggage }, () =>
    Sentry.getCurrentScope().getPropagationContext(),
  );
  continued.set(raw, trace);
  return trace.traceId;
}

/** The trace that a request belongs to. */
export function traceContextOf({ id, raw }: { id: string; raw: RawRequest }): TraceContext {
  return continued.get(raw) ?? { traceId: id, sampleRand: Math.random() };
}

/** https://www.w3.org/TR/trace-context/: version ff is invalid; after 00 there may be more fields. */
const TRACEPARENT =
  /^(?!ff|00-.{52}.)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const SAMPLED_FLAG = 1;

const SENTRY_TRACE = /^(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}(?:-[01])?$/;

/** Who calls, in the form of Sentry's header; undefined if the request does not say so. */
function sentryTraceOf(headers: IncomingHttpHeaders): string | undefined {
  const { traceparent, 'sentry-trace': sentryTrace } = headers;
  if (traceparent === undefined && sentryTrace === undefined) return undefined;
  const [, traceId, spanId, flags = ''] = TRACEPARENT.exec(String(traceparent)) ?? [];
  if (traceId) return `${traceId}-${spanId}-${Number.parseInt(flags, 16) & SAMPLED_FLAG}`;
  return SENTRY_TRACE.test(String(sentryTrace)) ? String(sentryTrace) : undefined;
}
