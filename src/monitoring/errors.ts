import { randomUUID } from 'node:crypto';
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
    /** What failed in this request and is to be answered, or was; null if nothing did. */
    failure: Failure | null;
  }
}

type ErrorHandler = FastifyInstance['errorHandler'];

interface Failure {
  error: unknown;
  /** The event that reports it; undefined until it is decided whether there is one. */
  eventId?: Promise<string | null>;
}

/**
 * The id of the event that reports what failed in this request, to be shown or logged. To be asked
 * after the status of the answer is set: below 500 there is no event.
 *
 * @returns null if there is no event, or if the SDK dropped it: a `beforeSend`, for example.
 */
export async function eventIdOf(reply: FastifyReply): Promise<string | null> {
  const { failure } = reply.request;
  if (!failure) return null;
  if (!failure.eventId && reply.statusCode >= 500) {
    failure.eventId = report(failure.error, reply);
  }
  return failure.eventId ?? null;
}

/** Keeps what failed until it is answered: the last error, or the one whose event is on the page. */
function keep(error: unknown, { request }: FastifyReply): void {
  if (!request.failure?.eventId) request.failure = { error };
}

/** Reports what failed where no answer will come any more. */
function reportAtOnce(error: unknown, reply: FastifyReply): void {
  const { request } = reply;
  if (request.failure?.eventId && request.failure.error === error) return;
  request.failure = { error, eventId: report(error, reply) };
}

/** Milliseconds for which a page waits at most to know whether the SDK sends an event or drops it. */
const DECISION_TIMEOUT = 5_000;

interface Decision {
  /** The event's id once it was handed to the transport, or null. */
  result: Promise<string | null>;
  decide: (isSent: boolean) => void;
}

/** What becomes of the events that the SDK has just begun to process, by their ids. */
const decisions = new Map<string, Decision>();

/** Those that are not decided yet, by the request that they were captured in. */
const undecided = new WeakMap<object, Set<Decision>>();

/** The same of the events that report an error object, by the request that met it. */
const reports = new WeakMap<object, WeakMap<object, Decision>>();

/** The events that are being captured here, by the scope that this is done in. */
const capturing = new WeakMap<Sentry.Scope, string>();

/** The SDK's mark on an error that it never captures again. Here it holds for the request alone. */
const SDK_MARK = '__sentry_captured__';

const isObject = (error: unknown): error is object => Object(error) === error;

/** What all forks of a request's scopes have in common; outside of requests there is one for all. */
function currentRequest(): object {
  const { sdkProcessingMetadata } = Sentry.getIsolationScope().getScopeData();
  return (sdkProcessingMetadata.requestScopes as object | undefined) ?? decisions;
}

/** Reports an error as its request's, unless the application has done so itself. */
function report(error: unknown, reply: FastifyReply): Promise<string | null> {
  const { request } = reply;
  if (!Sentry.isEnabled()) return Promise.resolve(null);
  return inScopesOf(request, async () => {
    const decision =
      (isObject(error) && reports.get(error)?.get(currentRequest())) || capture(error);
    // The SDK gives an id also to what it does not take.
    const eventId = (await decision?.result) ?? null;
    if (eventId) request.log = reply.log = reply.log.child({ event_id: eventId });
    return eventId;
  });
}

function capture(error: unknown): Decision | undefined {
  const event_id = randomUUID().replaceAll('-', '');
  const exception = readable(error);
  Sentry.withScope((scope) => {
    capturing.set(scope, event_id);
    // Left by an event that never was: one that the SDK's sampleRate left out, for example.
    if (isObject(exception)) Reflect.deleteProperty(exception, SDK_MARK);
    const mechanism = { type: 'fastify', handled: false };
    Sentry.captureException(exception, { event_id, mechanism });
  });
  return decisions.get(event_id);
}

/** A frame of this folder, through which every request runs: trackers hide what is not the application's. */
const OWN_FRAME = /\/monitoring\/[\w-]+\.[jt]s$/;

/** The SDK begins to process an event. */
function onBegin({ event_id, type, exception }: Sentry.Event, hint?: Sentry.EventHint): void {
  if (!event_id || type) return;
  for (const frame of exception?.values?.flatMap(({ stacktrace }) => stacktrace?.frames ?? []) ??
    []) {
    if (OWN_FRAME.test(frame.filename ?? '')) frame.in_app = false;
  }
  let decide: Decision['decide'] = () => {};
  const result = new Promise<string | null>((resolve) => {
    decide = (isSent) => resolve(isSent ? event_id : null);
  });
  const decision = { result, decide };
  const request = currentRequest();
  const ofRequest = undecided.get(request) ?? new Set();
  undecided.set(request, ofRequest.add(decision));
  void result.then(() => ofRequest.delete(decision));
  decisions.set(event_id, decision);
  setTimeout(() => {
    decide(false);
    decisions.delete(event_id);
  }, DECISION_TIMEOUT).unref();

  const error = hint?.originalException;
  if (!isObject(error)) return;
  const inRequests = reports.get(error) ?? new WeakMap<object, Decision>();
  reports.set(error, inRequests.set(request, decision));
  Reflect.defineProperty(error, SDK_MARK, {
    configurable: true,
    get: () => inRequests.has(currentRequest()),
  });
}

/** Learns from the SDK which events it hands to its transport, and which it drops. */
function watch(client: Sentry.NodeClient): void {
  client.on('preprocessEvent', onBegin);
  client.on('beforeSendEvent', ({ event_id = '' }) => decisions.get(event_id)?.decide(true));
  // Of a dropped event there is no hook, and only its client is told.
  const { recordDroppedEvent } = client;
  client.recordDroppedEvent = (...args) => {
    droppedDecision()?.decide(false);
    recordDroppedEvent.apply(client, args);
  };
}

/** Which event is being dropped: one that is captured here, or the only one that its request waits for. */
function droppedDecision(): Decision | undefined {
  const captured = decisions.get(capturing.get(Sentry.getCurrentScope()) ?? '');
  const [first, ...others] = undecided.get(currentRequest()) ?? [];
  return captured ?? (others.length === 0 ? first : undefined);
}

const watched = new WeakSet<Sentry.NodeClient>();

/** Fastify's own log, which is the only one to hear of some errors. */
export class ReportingLog extends LogController {
  /** What Fastify's own error handler answers: of a failed error handler it has the error. */
  override defaultErrorLog(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    keep(error, reply);
    super.defaultErrorLog(error, request, reply);
  }

  /** A stream that failed after the headers, or was cut because the client left. */
  override streamError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    if (!hasLeft(request)) {
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
    if (error) reportAtOnce(error, reply);
    super.requestCompleted(error, request, reply);
  }
}

/**
 * The article's `DjangoIntegration()`: what is answered with a 5xx, or fails after the answer, is an
 * event of its request.
 */
async function errors(app: FastifyInstance) {
  const client = Sentry.getClient<Sentry.NodeClient>();
  if (client && !watched.has(client)) {
    watched.add(client);
    watch(client);
  }

  app.decorateRequest('failure', null);
  app.addHook('onRequest', (_request, reply, done) => {
    onEnd(reply, () => eventIdOf(reply));
    done();
  });
  app.addHook('onError', (_request, reply, error, done) => {
    keep(error, reply);
    done();
  });
  // That hook hears of the first error alone, and not of what an error handler throws to the next one.
  const { setErrorHandler } = app;
  app.setErrorHandler = function (this: FastifyInstance, handler: ErrorHandler, ...rest: []) {
    const keeping: ErrorHandler = function (this: FastifyInstance, error, request, reply) {
      keep(error, reply);
      return handler.call(this, error, request, reply);
    };
    return setErrorHandler.call(this, keeping, ...rest);
  } as typeof setErrorHandler;
  // For an answer that comes when the client has left, and the end is over.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (reply.hasEnded) void eventIdOf(reply);
    done();
  });

  // Fastify only logs what a handler throws after its answer. Its diagnostics channel would tell,
  // but it changes the status of some answers as soon as somebody listens to it.
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
