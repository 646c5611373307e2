import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { ReadableStream } from 'node:stream/web';
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { onEnd, routeOf } from './request.ts';
import { type TraceContext, traceContextOf } from './trace-ids.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The error that occurred in this request. It is reported under this id if the response is a
     * 5xx.
     */
    failure: Failure | null;
    /** `Sentry.captureException` with this request's user, tags and trace, from any callback. */
    captureException: (error: unknown, hint?: Sentry.EventHint) => string;
  }
  interface FastifyContextConfig {
    /** False for routes that are never traced, such as probes and static files. */
    traced?: boolean;
  }
}

export interface Failure {
  error: unknown;
  /** The id of its event, a UUID; undefined if Sentry is off. */
  eventId: string | undefined;
}

export interface SentryOptions {
  /**
   * How many traces are started per second at most, 10 by default. Ignored with a `tracesSampler`.
   */
  maxTracesPerSecond?: number | undefined;
}

/** The id of the current request's trace if it is recorded, so that a page can link to it. */
export function recordedTraceId(): string | undefined {
  const { traceId, traceFlags = 0 } = Sentry.getActiveSpan()?.spanContext() ?? {};
  return (traceFlags & 1) === 1 ? traceId : undefined;
}

/** Gives each request scopes and a trace of its own, and reports the error behind each 5xx. */
async function sentry(app: FastifyInstance, { maxTracesPerSecond = 10 }: SentryOptions) {
  const { tracesSampler, tracesSampleRate } = Sentry.getClient()?.getOptions() ?? {};
  const isTracingOff = tracesSampleRate === undefined && !tracesSampler;
  const isWithinLimit = rateLimit(maxTracesPerSecond);

  /** Decides before a span is started, which costs more than everything else. */
  function isTraced({ is404, routeOptions }: FastifyRequest, traceContext: TraceContext): boolean {
    if (isTracingOff || is404 || routeOptions.config.traced === false) return false;
    if (tracesSampler) return true;
    // The SDK decides by the same number when the span starts.
    const { sampled, sampleRand } = traceContext;
    return (sampled ?? sampleRand < Number(tracesSampleRate)) && isWithinLimit();
  }

  app.decorateRequest('failure', null);
  app.decorateRequest('captureException', Sentry.captureException);

  app.addHook('onRequest', (request, reply, done) => {
    Sentry.withIsolationScope((isolationScope) => {
      const scope = Sentry.getCurrentScope();
      const traceContext = traceContextOf(request.raw);
      scope.setPropagationContext(traceContext);
      // Those of the process, such as its start and its background work, are not this request's.
      isolationScope.clearBreadcrumbs();
      reply.header('x-trace-id', traceContext.traceId);
      isolationScope.setTransactionName(`${request.method} ${routeOf(request)}`);
      isolationScope.setSDKProcessingMetadata(requestData(request));
      if (isTraced(request, traceContext)) {
        const span = startRequestSpan(request, reply);
        return Sentry.withActiveSpan(span, () => follow(request, done));
      }
      // As if the caller had decided so: a span of this request would become a separate trace.
      if (!isTracingOff) scope.setPropagationContext({ ...traceContext, sampled: false });
      follow(request, done);
    });
  });

  app.addHook('onError', (request, _reply, error, done) => {
    // Keep the first: its id is on the page, and the error handler may fail as well.
    request.failure ??= failureOf(error);
    done();
  });

  // Not in onError: the error handler may still answer with a 4xx.
  app.addHook('onSend', (request, reply, payload, done) => {
    if (reply.statusCode >= 500 && !isAbandoned(request)) report(request);
    const stream = payload instanceof ReadableStream ? Readable.fromWeb(payload) : payload;
    if (stream instanceof Readable) reportBreak(stream, request, reply);
    done(null, stream);
  });
}

/** The request as events show it. The SDK keeps only what `dataCollection` allows. */
function requestData({ method, protocol, host, url, headers, ip }: FastifyRequest) {
  const normalizedRequest = {
    method,
    url: `${protocol}://${host}${url}`,
    query_string: url.split('?')[1] ?? '',
    headers: headers as Record<string, string>,
  };
  return { normalizedRequest, ipAddress: ip };
}

/**
 * Runs the rest of the request in the current scopes, and keeps them for its report: a timeout or a
 * connection pool may call back in the scopes of another request.
 */
function follow(request: FastifyRequest, done: () => void): void {
  const [isolationScope, scope] = [Sentry.getIsolationScope(), Sentry.getCurrentScope()];
  request.captureException = (error, hint) =>
    Sentry.withIsolationScope(isolationScope, () => scope.captureException(error, hint));
  done();
}

function startRequestSpan(request: FastifyRequest, reply: FastifyReply): Sentry.Span {
  const span = Sentry.startInactiveSpan({
    name: `${request.method} ${routeOf(request)}`,
    op: 'http.server',
    attributes: {
      'sentry.segment.name.source': 'route',
      'http.request.method': request.method,
      'http.route': routeOf(request),
      'url.path': request.url.split('?')[0],
    },
  });
  onEnd(reply, (statusCode) => {
    const eventId = statusCode >= 500 && request.failure?.eventId;
    if (eventId) span.setAttribute('sentry.event_id', eventId);
    Sentry.setHttpStatus(span, statusCode);
    span.end();
  });
  return span;
}

const failureOf = (error: unknown): Failure => ({
  error,
  eventId: Sentry.isEnabled() ? randomUUID() : undefined,
});

function report({ failure, captureException }: FastifyRequest): void {
  if (!failure?.eventId) return;
  captureException(failure.error, {
    event_id: failure.eventId.replaceAll('-', ''),
    mechanism: { type: 'fastify', handled: false },
  });
}

/** Whether the client has disconnected, so that `request.signal` has aborted the work. */
const isAbandoned = ({ failure, signal }: FastifyRequest) =>
  signal.aborted && (failure?.error as Error | undefined)?.name === 'AbortError';

/** Reports a stream that breaks after the headers. Before them, Fastify calls the error handler. */
function reportBreak(stream: Readable, request: FastifyRequest, reply: FastifyReply): void {
  const onBreak = (error: Error) => {
    if (!reply.raw.headersSent) return;
    // For the metrics and the trace: the client has seen a different status.
    reply.code(500);
    request.failure = failureOf(error);
    report(request);
  };
  stream.once('error', onBreak);
  onEnd(reply, () => {
    // A stream's error after the client has disconnected is not this application's.
    stream.off('error', onBreak);
    // A handlerTimeout destroys the response, not the stream.
    if (reply.raw.errored) onBreak(reply.raw.errored);
  });
}

/** Returns true at most `perSecond` times a second. */
function rateLimit(perSecond: number): () => boolean {
  let [second, count] = [0, 0];
  return () => {
    const now = Math.floor(performance.now() / 1000);
    [second, count] = [now, now === second ? count + 1 : 1];
    return count <= perSecond;
  };
}

export default fp(sentry, { name: 'sentry' });
