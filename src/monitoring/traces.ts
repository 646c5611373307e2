import * as Sentry from '@sentry/node';
import type { FastifyRequest } from 'fastify';
import type { TraceExportOptions } from './otlp-traces.ts';
import { endpointOf } from './request.ts';
import { pathOf } from './request-url.ts';
import { callerOf } from './trace-id.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False for routes that machines ask for, or browsers along with a page. */
    traced?: boolean;
  }
}

export interface TraceOptions extends TraceExportOptions {
  /** Traces begun in a second at most, on average and in one burst: what a flood can cost. */
  maxTracesPerSecond?: number;
}

/** What the SDK keeps of a trace: whose it is, and whether it is recorded. */
export type Trace = ReturnType<Sentry.Scope['getPropagationContext']>;

/** The trace that a request belongs to: its caller's, as the SDK reads `baggage`, or its own. */
export function traceOf({ id: traceId, headers }: FastifyRequest): Trace {
  const caller = callerOf(headers);
  if (!caller) return { traceId, sampleRand: Math.random() };
  const flag = caller.sampled === undefined ? '' : `-${Number(caller.sampled)}`;
  const sentryTrace = `${traceId}-${caller.parentSpanId}${flag}`;
  return Sentry.continueTrace({ sentryTrace, baggage: headers.baggage as string }, () => ({
    ...Sentry.getCurrentScope().getPropagationContext(),
    traceId,
  }));
}

/** Makes the function that decides whether a request's trace is recorded. */
export function sampler(options: TraceOptions) {
  const { maxTracesPerSecond = 10, sendTransactions = true, otlpEndpoint } = options;
  const { tracesSampleRate = -1 } = Sentry.getClient()?.getOptions() ?? {};
  const isWanted = Boolean(otlpEndpoint) || (Sentry.isEnabled() && sendTransactions);
  const canTrace = isWanted && tracesSampleRate >= 0;
  const isAdmitted = rateLimit(maxTracesPerSecond);
  return ({ routeOptions }: FastifyRequest, { sampled, sampleRand }: Trace): boolean =>
    canTrace &&
    routeOptions.config.traced !== false &&
    (sampled ?? sampleRand < tracesSampleRate) &&
    isAdmitted();
}

/** The options of a request's span. */
export function spanOptions(request: FastifyRequest, { dsc }: Trace) {
  const { method } = request;
  const route = endpointOf(request);
  const { tracesSampleRate = 0 } = Sentry.getClient()?.getOptions() ?? {};
  // How many requests this one stands for, unless the caller chose it.
  const sampleRate = dsc
    ? {}
    : { [Sentry.SEMANTIC_ATTRIBUTE_SENTRY_SAMPLE_RATE]: tracesSampleRate };
  return {
    name: `${method} ${route}`,
    op: 'http.server',
    attributes: {
      'sentry.segment.name.source': 'route' as const,
      ...sampleRate,
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
