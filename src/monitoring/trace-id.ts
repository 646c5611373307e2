import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

// Version ff is invalid; of versions after 00 the first four fields count, whatever follows.
const TRACEPARENT =
  /^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])(?:-.*)?$/;
const SENTRY_TRACE = /^(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})(?:-([01]))?$/;
const SAMPLED_FLAG = 1;

export interface Caller {
  traceId: string;
  parentSpanId: string;
  /** Whether the caller records the trace; undefined if it leaves that to us. */
  sampled: boolean | undefined;
}

/** Who calls, by `traceparent` (https://www.w3.org/TR/trace-context/) or else by `sentry-trace`. */
export function callerOf(headers: IncomingHttpHeaders): Caller | undefined {
  const { traceparent, 'sentry-trace': sentryTrace } = headers;
  if (traceparent === undefined && sentryTrace === undefined) return undefined;
  const w3c = TRACEPARENT.exec(String(traceparent));
  const [, traceId, parentSpanId, flag] = w3c ?? SENTRY_TRACE.exec(String(sentryTrace)) ?? [];
  if (!traceId || !parentSpanId) return undefined;
  const sampled = flag && (Number.parseInt(flag, 16) & SAMPLED_FLAG) !== 0;
  return { traceId, parentSpanId, sampled: flag ? Boolean(sampled) : undefined };
}

/** A request's id is its trace's: the caller's, or a new one. */
export function genReqId({ headers }: { headers: IncomingHttpHeaders }): string {
  return callerOf(headers)?.traceId ?? randomUUID().replaceAll('-', '');
}
