import * as Sentry from '@sentry/node';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { eventUuid } from '../event-url.ts';
import { PROBES } from '../routes/health.ts';
import { traceContextOf } from '../trace-context.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What Sentry knows of this request alone: add breadcrumbs and tags to this scope. */
    sentryScope: Sentry.Scope;
    /** The id of the event that reported this request's error. */
    eventId: string | null;
    /** The request's span; null unless the request is traced. */
    span: Sentry.Span | null;
  }
}

/** Asked for by machines, or along with a page: a trace of them tells nothing. */
const UNTRACED_ROUTES = new Set([...PROBES, '/style.css']);

/**
 * The article's `DjangoIntegration()`: every response names its trace, and every error that would
 * be answered with a 5xx is captured once, with the request that it happened in.
 *
 * The SDK's own integrations isolate and trace each request before they know whether anybody will
 * want to know of it. Here that is done for requests that are traced, and for those that fail.
 */
async function sentry(app: FastifyInstance, { config }: { config: Config }) {
  const isAdmitted = rateLimit(config.SENTRY_MAX_TRACES_PER_SECOND);

  const scopes = new WeakMap<FastifyRequest, Sentry.Scope>();
  app.decorateRequest('sentryScope', {
    getter() {
      const scope = scopes.get(this) ?? newScope(this);
      scopes.set(this, scope);
      return scope;
    },
  });
  app.decorateRequest('eventId', null);
  app.decorateRequest('span', null);

  app.addHook('onRequest', (request, reply, done) => {
    const trace = traceContextOf(request.raw);
    reply.header('x-trace-id', trace.traceId);

    trace.sampled =
      Sentry.isEnabled() &&
      !UNTRACED_ROUTES.has(routeOf(request)) &&
      (trace.sampled ?? Math.random() < config.SENTRY_TRACES_SAMPLE_RATE) &&
      isAdmitted();
    if (trace.sampled) traced(request, reply, done);
    else done();
  });

  // Runs before the error handler, for errors of handlers and hooks alike.
  app.addHook('onError', async (request, reply, error: FastifyError) => {
    if (!Sentry.isEnabled() || (error?.statusCode ?? 500) < 500) return;
    isolated(request, () => {
      const capture = () =>
        Sentry.captureException(error, { mechanism: { type: 'fastify', handled: false } });
      request.eventId = request.span ? Sentry.withActiveSpan(request.span, capture) : capture();
      request.exemplarLabels = {
        trace_id: traceContextOf(request.raw).traceId,
        event_uuid: eventUuid(request.eventId),
      };
    });
    request.log = reply.log = request.log.child({ event_id: request.eventId });
  });
}

const routeOf = (request: FastifyRequest) => request.routeOptions.url ?? 'unmatched';

/** A scope that holds what an event should say of the request, and nothing that is private. */
function newScope(request: FastifyRequest): Sentry.Scope {
  const { id, method, protocol, host, url, visitorId } = request;
  const scope = new Sentry.Scope();
  scope.setTransactionName(`${method} ${routeOf(request)}`);
  scope.setTag('request_id', id);
  if (visitorId) scope.setUser({ id: visitorId });
  // From this the SDK takes what src/instrument.ts lets it collect.
  const normalizedRequest = { method, url: `${protocol}://${host}${url}` };
  scope.setSDKProcessingMetadata({ normalizedRequest });
  return scope;
}

/** Runs a function so that whatever Sentry captures in it belongs to the request and its trace. */
function isolated(request: FastifyRequest, run: () => void): void {
  Sentry.withIsolationScope(request.sentryScope, () =>
    Sentry.withScope((scope) => {
      scope.setPropagationContext({ ...traceContextOf(request.raw), sampleRand: Math.random() });
      run();
    }),
  );
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
        reply.raw.once('close', () => {
          Sentry.setHttpStatus(span, reply.statusCode);
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

export default fp(sentry, { name: 'sentry', dependencies: ['visitor', 'request-metrics'] });
