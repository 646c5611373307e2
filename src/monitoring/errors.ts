import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import * as Sentry from '@sentry/node';
import {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RouteHandler,
} from 'fastify';
import fp from 'fastify-plugin';
import { chainOf, copyOf, readable } from './readable-error.ts';
import { type AnyReply, type AnyRequest, HAS_ENDED, hasLeft, onEnd } from './request.ts';
import { currentRequest, inScopesOf, WORK } from './scope.ts';
import { traceContextOf } from './trace-context.ts';
import { waitFor } from './wait-for.ts';

const FAILURE = Symbol('failure');

declare module 'fastify' {
  interface FastifyRequest {
    /** What failed in this request and is to be answered, or was; null if nothing did. */
    [FAILURE]: Failure | null;
  }
}

type ErrorHandler = FastifyInstance['errorHandler'];

/** The id of an event; null if there is none, or if the SDK dropped it. */
type EventId = string | null;

interface Failure {
  error: unknown;
  /** Runs a function where it failed: a hook of the application may have forked the request's scopes. */
  run<T>(report: () => T): T;
  /** The event that reports it; undefined until it is decided whether there is one. */
  eventId?: Promise<EventId>;
}

/**
 * The id of the event that reports what failed in this request, to be shown or logged. To be asked
 * after the status of the answer is set: below 500 there is no event.
 *
 * @returns null if there is no event, or if the SDK dropped it: a `beforeSend`, for example.
 */
export async function eventIdOf(reply: AnyReply): Promise<EventId> {
  const failure = reply.request[FAILURE];
  if (!failure) return null;
  if (!failure.eventId && reply.statusCode >= 500) {
    failure.eventId = failure.run(() => report(failure.error, reply));
  }
  return failure.eventId ?? null;
}

/** An event's id with dashes, as a UUID is written; the SDK gives it as 32 hexadecimal digits. */
export function eventUuid(eventId: string): string {
  return eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Whether something failed in this request, so that it may have an event. */
export const hasFailed = (request: AnyRequest) => request[FAILURE] !== null;

/** Keeps what failed until it is answered: the last error, or the one whose event is on the page. */
function keep(error: unknown, reply: AnyReply): void {
  if (isDeparture(error, reply)) return;
  const { request } = reply;
  const failure = request[FAILURE];
  if (failure?.eventId) return;
  request[FAILURE] = { error, run: AsyncLocalStorage.snapshot() };
  if (!failure || failure.error === error) return;
  // What failed first is why something failed after it: in the error handler, say.
  const { message } = copyOf(failure.error);
  inScopesOf(request, () => Sentry.addBreadcrumb({ category: 'error', level: 'error', message }));
}

/** Reports what failed where no answer will come any more. */
function reportAtOnce(error: unknown, reply: AnyReply): void {
  if (isDeparture(error, reply)) return;
  const { request } = reply;
  const failure = request[FAILURE];
  // When a handler has timed out, `request.signal` gives that error as the cause of what its work
  // throws then: both are one failure, which has its event.
  const isKnown = failure?.error === error || chainOf(error).includes(failure?.error);
  if (failure?.eventId && isKnown) return;
  request[FAILURE] = { error, run: AsyncLocalStorage.snapshot(), eventId: report(error, reply) };
}

/**
 * Whether an error says only that the client left. Whoever reads the body of its request gets such an
 * error, and so does whoever listens to `request.signal`.
 */
function isDeparture(error: unknown, reply: AnyReply): boolean {
  if (!hasLeft(reply)) return false;
  const { raw, signal } = reply.request;
  return chainOf(error).some((link) => link === raw.errored || link === signal.reason);
}

/** Milliseconds for which a page waits at most to know whether the SDK sends an event or drops it. */
const DECISION_TIMEOUT = 5_000;

/** What becomes of the events that the SDK is working on, by their ids. */
const underWay = new Map<string, Promise<EventId>>();

/** The same by the error object that an event reports, and then by the request that met it. */
const reports = new WeakMap<object, WeakMap<object, Promise<EventId>>>();

/** The SDK's mark on an error that it is not to capture again. Here it counts in one request only. */
const SDK_MARK = '__sentry_captured__';

const isObject = (error: unknown): error is object => Object(error) === error;

/** Reports an error as its request's, unless the application has done so itself. */
async function report(error: unknown, reply: AnyReply): Promise<EventId> {
  if (!Sentry.isEnabled()) return null;
  try {
    return await inScopesOf(reply.request, async () => {
      const known = isObject(error) ? reports.get(error)?.get(currentRequest()) : undefined;
      // The id that the SDK returns at once proves nothing: an event that it drops has one, too.
      const eventId = (await waitFor(known ?? capture(error), DECISION_TIMEOUT)) ?? null;
      if (eventId) reply.request.log = reply.log = reply.log.child({ event_id: eventId });
      return eventId;
    });
  } catch (failure) {
    // Anything can be thrown, also what nobody can look at.
    reply.log.error({ err: copyOf(failure) }, 'an error could not be reported');
    return null;
  }
}

/** Has the SDK report an error, and waits until it has sent the event or dropped it. */
async function capture(error: unknown): Promise<EventId> {
  const event_id = randomUUID().replaceAll('-', '');
  const exception = readable(error);
  // A capture that became no event, because of the SDK's `sampleRate` for example, left its mark.
  if (isObject(exception)) mark(exception, { value: false });
  Sentry.captureException(exception, { event_id, mechanism: { type: MECHANISM, handled: false } });
  return underWay.get(event_id) ?? null;
}

interface SdkInternals {
  /** Resolves to the event's id when it was handed to the transport, or to undefined. */
  _captureEvent(
    event: Sentry.Event,
    hint?: Sentry.EventHint,
    ...scopes: Sentry.Scope[]
  ): PromiseLike<string | undefined>;
}

/** Learns from the SDK which events it hands to its transport, and which it drops. */
function watch(client: Sentry.NodeClient): void {
  client.on('preprocessEvent', hideOwnFrames);
  // There is a hook for what is sent, but none for what is dropped.
  const internals = client as unknown as SdkInternals;
  const { _captureEvent } = internals;
  internals._captureEvent = (event, hint = {}, ...scopes) => {
    const sent = _captureEvent.call(client, event, hint, ...scopes);
    if (!event.type) remember(hint, Promise.resolve(sent));
    return sent;
  };
}

/** Keeps what becomes of an event until it is known, and by the error that it reports. */
function remember(
  { event_id = '', originalException: error }: Sentry.EventHint,
  sent: Promise<string | undefined>,
): void {
  const eventId = sent.then((id) => id ?? null).finally(() => underWay.delete(event_id));
  underWay.set(event_id, eventId);
  if (!isObject(error)) return;
  const inRequests = reports.get(error) ?? new WeakMap<object, Promise<EventId>>();
  reports.set(error, inRequests.set(currentRequest(), eventId));
  mark(error, { get: () => inRequests.has(currentRequest()) });
}

/** Sets the SDK's mark on an error. A frozen one takes none, and the SDK cannot set it, either. */
function mark(error: object, isCaptured: PropertyDescriptor): void {
  try {
    Reflect.defineProperty(error, SDK_MARK, { ...isCaptured, configurable: true });
  } catch {
    // A proxy may refuse the mark. It refuses the SDK's, too.
  }
}

/** How an event came about, in Sentry's words: as in the SDK's own integration. */
const MECHANISM = 'fastify';

/**
 * The frames of this folder that every request runs through. Trackers show the frames of the
 * application (`in_app`), and hide others: so these are said to be others.
 */
const OWN_FRAME = /\/monitoring\/(errors|request|scope)\.[jt]s$/;

function hideOwnFrames({ exception }: Sentry.Event, hint?: Sentry.EventHint): void {
  for (const { stacktrace, mechanism } of exception?.values ?? []) {
    // What is no Error has no stack but the one of its capture here.
    const isOurs = mechanism?.synthetic && hint?.mechanism?.type === MECHANISM;
    for (const frame of stacktrace?.frames ?? []) {
      if (isOurs || OWN_FRAME.test(frame.filename ?? '')) frame.in_app = false;
    }
  }
}

/**
 * Runs a handler, and reports what it throws after the answer: Fastify only logs that. Its diagnostics
 * channel would tell, but it changes the status of some answers as soon as somebody listens to it.
 */
function hear<T>(reply: AnyReply, run: () => T): T {
  const { request } = reply;
  const reportIfSent = (error: unknown) => {
    // No other answer can come, either, when this one has begun.
    if (reply.sent || reply.raw.headersSent) reportAtOnce(error, reply);
  };
  try {
    const work = inScopesOf(request, run);
    // Something else with a `then`, a query of a database say, begins its work when that is called.
    if (work instanceof Promise) {
      // A handler that has timed out may still work while the error handler does: both count.
      const others = request[WORK];
      request[WORK] = others ? Promise.allSettled([others, work]) : work;
      work.catch(reportIfSent);
    }
    return work;
  } catch (error) {
    reportIfSent(error);
    throw error;
  }
}

const heard = (handler: RouteHandler): RouteHandler =>
  function (request, reply) {
    return hear(reply, () => handler.call(this, request, reply));
  };

/** Keeps the error here, too: Fastify calls no `onError` for what one error handler throws to the next. */
const heardErrorHandler = (handler: ErrorHandler): ErrorHandler =>
  function (this: FastifyInstance, error, request, reply) {
    keep(error, reply);
    return hear(reply, () => handler.call(this, error, request, reply));
  };

const watched = new WeakSet<Sentry.NodeClient>();
let hasPino = false;

/** Fastify's own log, which is the only one to hear of some errors. */
export class ReportingLog extends LogController {
  /** Comes before every hook: the SDK's `pinoIntegration` would file it under the process's trace. */
  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    if (!hasPino) super.incomingRequest(request, reply);
    else {
      Sentry.withActiveSpan(null, (scope) => {
        scope.setPropagationContext(traceContextOf(request));
        super.incomingRequest(request, reply);
      });
    }
  }

  /** What Fastify's own error handler answers: of a failed error handler it has the error. */
  override defaultErrorLog(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    keep(error, reply);
    super.defaultErrorLog(error, request, reply);
  }

  /** A stream that failed after the headers, or was cut because the client left. */
  override streamError(error: Error, request: FastifyRequest, reply: FastifyReply): void {
    if (!hasLeft(reply)) {
      // Too late for the client, but not for the metrics.
      reply.code(500);
      // Of a response that was destroyed the stream only knows that it was closed.
      reportAtOnce(reply.raw.errored ?? error, reply);
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

/** What is answered with a 5xx, or fails after the answer, is an event of its request: docs/sentry.md. */
async function errors(app: FastifyInstance) {
  const client = Sentry.getClient<Sentry.NodeClient>();
  if (client && !watched.has(client)) {
    watched.add(client);
    watch(client);
    hasPino = client.getIntegrationByName('Pino') !== undefined;
  }

  app.decorateRequest(FAILURE, null);
  app.addHook('onRequest', (_request, reply, done) => {
    onEnd(reply, () => eventIdOf(reply));
    done();
  });
  app.addHook('onError', (request, reply, error, done) => {
    keep(error, reply);
    // The failure may have come from another connection, or from the timer of `handlerTimeout`.
    inScopesOf(request, done);
  });
  // A handler that is no function goes on as it is: Fastify says what is wrong with it.
  const { setErrorHandler, setNotFoundHandler } = app;
  app.setErrorHandler = function (this: FastifyInstance, handler: ErrorHandler) {
    const isHandler = typeof handler === 'function';
    return setErrorHandler.call(this, isHandler ? heardErrorHandler(handler) : handler);
  } as typeof setErrorHandler;
  app.setNotFoundHandler = function (this: FastifyInstance, ...options: unknown[]) {
    const handler = options.pop();
    options.push(typeof handler === 'function' ? heard(handler as RouteHandler) : handler);
    return Reflect.apply(setNotFoundHandler, this, options);
  } as typeof setNotFoundHandler;

  // For an answer that comes after the client has left: its `onEnd` has been called already.
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (reply[HAS_ENDED]) void eventIdOf(reply);
    inScopesOf(request, done);
  });
  app.addHook('onRoute', (route) => {
    route.handler = heard(route.handler);
    if (route.errorHandler) {
      route.errorHandler = heardErrorHandler(route.errorHandler as ErrorHandler);
    }
  });
}

export default fp(errors, { name: 'errors' });
