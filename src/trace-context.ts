import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

declare module 'node:http' {
  interface IncomingMessage {
    traceContext?: TraceContext;
  }
}

/** The trace that a request belongs to: https://www.w3.org/TR/trace-context/ */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** The caller's span, if the trace began there: 16 hexadecimal digits. */
  parentSpanId?: string;
  /** The caller's decision whether the trace is recorded; it holds for the whole trace. */
  sampled?: boolean;
}

const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;
const SAMPLED_FLAG = 1;

/**
 * The trace of a request: the one that its `traceparent` header continues, or else a new one.
 * It is the same at every call, from the logger's, before any hook runs, to the last.
 */
export function traceContextOf(request: IncomingMessage): TraceContext {
  request.traceContext ??= continued(request.headers.traceparent) ?? {
    traceId: randomUUID().replaceAll('-', ''),
  };
  return request.traceContext;
}

function continued(traceparent: string | string[] | undefined): TraceContext | undefined {
  if (typeof traceparent !== 'string') return undefined;
  const [, traceId, parentSpanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (!traceId || !parentSpanId || !flags) return undefined;
  return { traceId, parentSpanId, sampled: (Number.parseInt(flags, 16) & SAMPLED_FLAG) !== 0 };
}
