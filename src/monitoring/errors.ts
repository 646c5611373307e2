import * as Sentry from '@sentry/node';
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import fp from 'fastify-plugin';
import { readable } from './readable-error.ts';
import { hasLeft, onEnd } from './request.ts';
import { inScopesOf } from './scope.ts';

declare module 'fastify' {
  interface FastifyRequest {
    failure: Failure | null;
    /**
     * The id of the event that reports what failed in this request; null if nothing did, or if no
     * event was sent. An error handler asks for it after it has set the status: an answer below 500
     * is no event.
     */
    readonly eventId: string | null;
  }
}

interface Failure {
  error: unknown;
  reply: FastifyReply;
  /** Null if the SDK did not take the event; undefined until it is decided whether there is one. */
  eventId?: string | null;
}

/** The events that report an error, by the isolation scope: one in each request that met it. */
const eventIds = new WeakMap<object, WeakMap<Sentry.Scope, string>>();
const isObject = (error: unknown): error is object => error instanceof Object;

/** What calls the application's handlers: no frame that anybody looks for. */
const OWN_FRAME = /\/monitoring\/(scope|errors)\.[jt]s$/;

function rememberEvent({ event_id, exception }: Sentry.Event, hint?: Sentry.EventHint): void {
  for (const { stacktrace } of exception?.values ?? []) {
    for (const frame of stacktrace?.frames ?? []) {
      if (OWN_FRAME.test(frame.filename ?? '')) frame.in_app = false;
    }
  }
  const error = hint?.originalException;
  if (!event_id || !exception || !isObject(error)) return;
  const ids = eventIds.get(error) ?? new WeakMap<Sentry.Scope, string>();
  eventIds.set(error, ids.set(Sentry.getIsolationScope(), event_id));
  // The SDK's mark on what it has captured, never to capture it again: now only in this request.
  Reflect.defineProperty(error, '__sentry_captured__', {
    configurable: true,
    get: () => ids.has(Sentry.getIsolationScope()),
  });
}

/** Reports what failed, unless the application has done so itself. */
function report(failure: Failure): void {
  const { reply } = failure;
  const error = readable(failure.error);
  inScopesOf(reply.request, () => {
    const known = isObject(error) && eventIds.get(error)?.get(Sentry.getIsolationScope());
    const mechanism = { type: 'fastify', handled: false };
    const eventId = known || Sentry.captureException(error, { mechanism });
    // The SDK returns an id also for what it does not take.
    const isTaken = Sentry.isEnabled() && Sentry.lastEventId() === eventId;
    failure.eventId = known || isTaken ? eventId : null;
  });
  const { eventId } = failure;
  if (eventId) reply.request.log = reply.log = reply.log.child({ event_id: eventId });
}

/** Keeps what failed until it is answered: the last error, or the one whose event is on the page. */
function keep(error: unknown, reply: FastifyReply): void {
  const { request } = reply;
  if (!request.failure?.eventId) request.failure = { error, reply };
}

/** Reports what failed where no answer will come any more. */
function reportAtOnce(error: unknown, reply: FastifyReply): void {
  const { request } = reply;
  if (request.failure?.eventId && request.failure.error === error) return;
  request.failure = { error, reply };
  report(request.failure);
}

/** Fastify's own log, which is the only one to hear of some errors. */
export class ReportingLog extends LogController {
  /** What Fastify's own error handler answers: of a failed error handler it has the error. */
  override defaultErrorLog(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    keep(error, reply);
    // Before the line is written, so that it names the event.
    void request.eventId;
    super.defaultErrorLog(error, request, reply);
  }

  /** A stream that failed after the headers, or was cut because the client left. */
  override streamError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    if (request.scopes && !hasLeft(request)) {
      // Too late for the client, but not for the metrics.
      reply.code(500);
      reportAtOnce(error, reply);
    }
    super.streamError(error, request, reply);
  }

  /** With an error if an onResponse hook failed. */
  override requestCompleted(
    error: Error | null | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ): void {
    if (error && request.scopes) reportAtOnce(error, reply);
    super.requestCompleted(error, request, reply);
  }
}

/**
 * The article's `DjangoIntegration()`: what is answered with a 5xx, or fails after the answer, is an
 * event of its request.
 */
async function errors(app: FastifyInstance) {
  Sentry.getClient()?.on('preprocessEvent', rememberEvent);

  app.decorateRequest('failure', null);
  app.decorateRequest('eventId', {
    getter(this: FastifyRequest) {
      const { failure } = this;
      if (failure && failure.eventId === undefined && failure.reply.statusCode >= 500) {
        report(failure);
      }
      return failure?.eventId ?? null;
    },
  });

  app.addHook('onRequest', (request, reply, done) => {
    onEnd(reply, () => request.eventId);
    done();
  });
  app.addHook('onError', (_request, reply, error, done) => {
    keep(error, reply);
    done();
  });

  // Fastify only logs what a handler throws after its answer. Its diagnostics channel would tell,
  // but whoever listens to that changes the answers.
  app.addHook('onRoute', (route) => {
    const { handler } = route;
    route.handler = function (request, reply) {
      const reportIfSent = (error: unknown) => {
        if (reply.sent) reportAtOnce(error, reply);
      };
      try {
        const work = handler.call(this, request, reply);
        request.work = work;
        if (work instanceof Promise) work.catch(reportIfSent);
        return work;
      } catch (error) {
        reportIfSent(error);
        throw error;
      }
    };
  });
}

export default fp(errors, { name: 'errors' });
