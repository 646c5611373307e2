import * as Sentry from '@sentry/node';
import type { TraceExportOptions } from './otlp-traces.ts';
import { type Addressed, pathOf } from './request-url.ts';
import type { TraceContext } from './trace-context.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False for routes that machines ask for, or browsers along with a page. */
    traced?: boolean;
  }
}

export interface TraceOptions extends TraceExportOptions {
  /** Traces begun in a second at most, on average and in one burst: 10 by default. */
  maxTracesPerSecond?: number;
}

/** What its trace and its events say of a request. */
export interface TracedRequest extends Addressed {
  method: string;
  /** Its route's pattern. */
  route: string;
  headers: Record<string, string>;
  /** The client's address, if `dataCollection` lets it be collected. */
  ipAddress: string | undefined;
  /** False if its route is left out. */
  isTraceable: boolean;
  trace: TraceContext;
}

/** Makes the function that begins a request's span, in its own scopes. */
export function requestTracing(options: TraceOptions) {
  const { maxTracesPerSecond = 10, otlpEndpoint, sendTransactions = true } = options;
  const { tracesSampleRate, tracesSampler } = Sentry.getClient()?.getOptions() ?? {};
  const isAdmitted = rateLimit(maxTracesPerSecond);
  const isOff = tracesSampleRate === undefined && !tracesSampler;
  const isSentNowhere = !otlpEndpoint && !(Sentry.isEnabled() && sendTransactions);

  return {
    /** Whether a request may get a span, decided once. The SDK asks its `tracesSampler` later. */
    isWanted({ isTraceable, trace: { sampled, sampleRand } }: TracedRequest): boolean {
      if (isOff || isSentNowhere || !isTraceable) return false;
      if (tracesSampler) return true;
      return (sampled ?? sampleRand < Number(tracesSampleRate)) && isAdmitted();
    },

    /** The span of a request that is wanted. It may be one that is not recorded. */
    startSpan(request: TracedRequest): Sentry.Span {
      const span = Sentry.startInactiveSpan(spanOptions(request));
      if (!tracesSampler || !span.isRecording() || isAdmitted()) return span;
      return unrecordedSpan(request);
    },

    /** For a request that is not wanted: below a span that is not recorded, no other is recorded. */
    leaveOut(request: TracedRequest): Sentry.Span | undefined {
      return isOff ? undefined : unrecordedSpan(request);
    },
  };
}

/** Whether a span is recorded: it stays so when it has ended. */
export const isSampled = (span: Pick<Sentry.Span, 'spanContext'>) =>
  (span.spanContext().traceFlags & 1) === 1;

const unrecordedSpan = (request: TracedRequest) =>
  Sentry.suppressTracing(() => Sentry.startInactiveSpan(spanOptions(request)));

function spanOptions(request: TracedRequest) {
  const { method, route } = request;
  return {
    name: `${method} ${route}`,
    op: 'http.server',
    attributes: {
      'sentry.segment.name.source': 'route' as const,
      'http.request.method': method,
      'http.route': route,
      'url.path': pathOf(request),
    },
  };
}

/** Says yes at most `perSecond` times a second on average, and as often in one burst. */
function rateLimit(perSecond: number): () => boolean {
  let allowance = perSecond;
  let last = performance.now();
  return () => {
    const now = performance.now();
    allowance = Math.min(perSecond, allowance + ((now - last) / 1000) * perSecond);
    last = now;
    if (allowance < 1) return false;
    allowance -= 1;
    return true;
  };
}
