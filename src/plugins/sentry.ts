import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { traceContextOf } from '../trace-context.ts';
import { statusCodeSent } from './request-metrics.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What led to here; see leaveBreadcrumb. */
    breadcrumbs: Sentry.Breadcrumb[] | null;
    /** The id of the event that reported this request's error. */
    eventId: string | null;
    /** What Sentry knows of this request and of no other; null until there is something to send. */
    isolationScope: Sentry.Scope | null;
    /** The request's span; null unless the request is traced. */
    span: Sentry.Span | null;
    /** Who asked: a random id that does not say who they are; null for a new visitor. */
    visitorId: string | null;
  }
}

interface SentryOptions {
  config: Pick<Config, 'SENTRY_TRACES_SAMPLE_RATE' | 'SENTRY_MAX_TRACES_PER_SECOND'>;
  /** Asked for by machines, or along with a page: a trace of them tells nothing. */
  untracedRoutes?: Iterable<string>;
}

/**
 * The article's `DjangoIntegration()`: every response names its trace, and every error that would
 * be answered with a 5xx is captured once, with the request that it happened in.
 *
 * The SDK's own integrations isolate and trace each request before they know whether anybody will
 * want to know of it. Here that is done for requests that are traced, and for those that fail.
 */
async function sentry(app: FastifyInstance, { config, untracedRoutes }: SentryOptions) {
  const untraced = new Set(untracedRoutes);
  const isOn = Sentry.isEnabled();
  const isAdmitted = rateLimit(config.SENTRY_MAX_TRACES_PER_SECOND);

  app.decorateRequest('breadcrumbs', null);
  app.decorateRequest('eventId', null);
  app.decorateRequest('isolationScope', null);
  app.decorateRequest('span', null);
  // An application that knows its visitors has said so before.
  if (!app.hasRequestDecorator('visitorId')) app.decorateRequest('visitorId', null);

  app.addHook('onRequest', (request, reply, done) => {
    const trace = traceContextOf(request.raw);
    reply.header('x-trace-id', trace.traceId);

    trace.sampled =
      isOn &&
      !untraced.has(routeOf(request)) &&
      (trace.sampled ?? Math.random() < config.SENTRY_TRACES_SAMPLE_RATE) &&
      isAdmitted();
    if (trace.sampled) traced(request, reply, done);
    else done();
  });

  // Runs before the error handler, for errors of handlers and hooks alike.
  app.addHook('onError', async (_request, reply, error) => {
    if (statusCodeOf(error) >= 500) captureError(reply, error);
  });
}

/** The status that an error is answered with. Anything can be thrown, and only 400 to 599 say an error. */
export function statusCodeOf(error: { statusCode?: number } | null): number {
  const statusCode = Number(error?.statusCode);
  return statusCode >= 400 && statusCode <= 599 ? statusCode : 500;
}

/** Reports an error as this request's, and names the event in its log lines from here on. */
export function captureError(reply: FastifyReply, error: unknown): void {
  if (!Sentry.isEnabled()) return;
  const { request } = reply;
  isolated(request, (scope) => {
    for (const breadcrumb of request.breadcrumbs ?? []) scope.addBreadcrumb(breadcrumb);
    request.breadcrumbs = null;
    const capture = () =>
      Sentry.captureException(error, { mechanism: { type: 'fastify', handled: false } });
    request.eventId = request.span ? Sentry.withActiveSpan(request.span, capture) : capture();
    request.exemplarLabels = {
      trace_id: traceContextOf(request.raw).traceId,
      event_uuid: eventUuid(request.eventId),
    };
  });
  request.log = reply.log = request.log.child({ event_id: request.eventId });
}

const routeOf = (request: FastifyRequest) => request.routeOptions.url ?? 'unmatched';

/**
 * Notes what happens in a request, to be read on the event if the request fails later. Unlike
 * `Sentry.addBreadcrumb` it costs next to nothing in a request that does not.
 */
export function leaveBreadcrumb(request: FastifyRequest, breadcrumb: Sentry.Breadcrumb): void {
  request.breadcrumbs ??= [];
  request.breadcrumbs.push({ timestamp: Date.now() / 1000, ...breadcrumb });
}

/** An event's id with dashes, as a UUID is written; the SDK gives it as 32 hexadecimal digits. */
export function eventUuid(eventId: string): string {
  return eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Runs a function so that whatever Sentry captures in it belongs to this request and its trace. */
function isolated(request: FastifyRequest, run: (isolationScope: Sentry.Scope) => void): void {
  const { id, method, protocol, host, url, visitorId } = request;
  // A new one, because the scope that untraced requests run in is common to all of them.
  request.isolationScope ??= new Sentry.Scope();
  const { isolationScope } = request;
  Sentry.withIsolationScope(isolationScope, () => {
    // #region context
    isolationScope.setTransactionName(`${method} ${routeOf(request)}`);
    isolationScope.setTag('request_id', id);
    if (visitorId) isolationScope.setUser({ id: visitorId });
    // #endregion
    // From this the SDK takes what src/instrument.ts lets it collect.
    const normalizedRequest = { method, url: `${protocol}://${host}${url}` };
    isolationScope.setSDKProcessingMetadata({ normalizedRequest });

    Sentry.getCurrentScope().setPropagationContext({
      ...traceContextOf(request.raw),
      sampleRand: Math.random(),
    });
    run(isolationScope);
  });
}

/** Runs the rest of the request inside a span, which ends with the response. */
function traced(request: FastifyRequest, reply: FastifyReply, runTheRest: () => void): void {
  const { method, url } = request;
  const route = routeOf(request);
  const attributes = {
    'sentry.segment.name.source': 'route' as const,
    'http.request.method': method,
    'http.route': route,
    'url.path': url.split('?', 1)[0],
  };
  isolated(request, () =>
    Sentry.startSpanManual(
      { name: `${method} ${route}`, op: 'http.server', attributes },
      (span) => {
        request.span = span;
        request.exemplarLabels = { trace_id: span.spanContext().traceId };
        reply.raw.on('close', () => {
          Sentry.setHttpStatus(span, statusCodeSent(reply));
          span.end();
        });
        runTheRest();
      },
    ),
  );
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

export default fp(sentry, { name: 'sentry', dependencies: ['request-metrics'] });
