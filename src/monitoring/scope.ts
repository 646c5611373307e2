import type { AsyncLocalStorage } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import { timestampInSeconds } from '@sentry/core';
import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { type AnyRequest, endpointOf, onEnd } from './request.ts';
import { addressOf } from './request-url.ts';
import { traceContextOf } from './trace-context.ts';
import { isSampled, requestTracing, type TracedRequest, type TraceOptions } from './traces.ts';
import { waitFor } from './wait-for.ts';

const SCOPES = Symbol('scopes');
/** The promise that the handler returned, if it returned one: its work may outlast the answer. */
export const WORK = Symbol('work');

declare module 'fastify' {
  interface FastifyRequest {
    /** What the SDK knows of this request and of no other; null while nothing is sent anywhere. */
    [SCOPES]: RequestScopes | null;
    [WORK]: Promise<unknown> | null;
  }
}

/** The form in which the SDK keeps the scopes of what is being done. */
interface Scopes {
  readonly scope: Sentry.Scope;
  readonly isolationScope: Sentry.Scope;
}

const metadataOf = (scope: Sentry.Scope) => scope.getScopeData().sdkProcessingMetadata;

/** Milliseconds for which a trace waits at most for its request's work to be done. */
const WORK_TIMEOUT = 10_000;

/** What the application told the SDK at its start: the scopes that every request's are forks of. */
const defaults = { scope: Sentry.getCurrentScope(), isolationScope: Sentry.getIsolationScope() };

/**
 * The scopes of one request. The SDK's own way, `withIsolationScope`, forks both for every request;
 * these are forked when somebody asks for them, which most requests never do.
 *
 * They refer to nothing of Fastify's: timers and sockets that a request opens keep its scopes for as
 * long as they live, and would keep the request and its body with them.
 */
class RequestScopes implements Scopes {
  readonly #request: TracedRequest;
  readonly #tracing: ReturnType<typeof requestTracing>;
  readonly #session: ReturnType<typeof metadataOf>['requestSession'];
  #isolationScope: Sentry.Scope | undefined;
  #scope: Sentry.Scope | undefined;
  #isWanted: boolean | undefined;
  #span: Sentry.Span | undefined;

  constructor(request: TracedRequest, tracing: ReturnType<typeof requestTracing>) {
    this.#request = request;
    this.#tracing = tracing;
    // The session that the SDK's `httpIntegration` counts by, if the application adds that.
    const outer = Sentry.getIsolationScope();
    if (outer !== defaults.isolationScope) this.#session = metadataOf(outer).requestSession;
  }

  get isolationScope(): Sentry.Scope {
    this.#isolationScope ??= this.#forkIsolationScope();
    return this.#isolationScope;
  }

  get scope(): Sentry.Scope {
    if (!this.#scope) {
      this.#scope = defaults.scope.clone();
      this.#scope.setPropagationContext(this.#request.trace);
      runIn({ scope: this.#scope, isolationScope: this.isolationScope }, () => this.#startSpan());
    }
    return this.#scope;
  }

  /** Whether the request's span is recorded. */
  get isTraced(): boolean {
    return this.#span !== undefined && isSampled(this.#span);
  }

  /** Begins the request's span, if it is to have one. */
  begin(): void {
    if (this.#isWantedNow()) void this.scope;
  }

  /** Ends the request's span, with the time of now, once the request's work is done. */
  async end(statusCode: number, work: Promise<unknown> | null): Promise<void> {
    const span = this.#span;
    if (!span?.isRecording()) return;
    Sentry.setHttpStatus(span, statusCode);
    const end = timestampInSeconds();
    // The work may go on after its answer, or when its visitor has left, and other listeners may have
    // work, too. A span that ends after this one is sent would be a transaction of its own.
    await waitFor(Promise.allSettled([work]), WORK_TIMEOUT);
    span.end(end);
  }

  #forkIsolationScope(): Sentry.Scope {
    const { method, route, url, headers, ipAddress } = this.#request;
    const scope = defaults.isolationScope.clone();
    // The fork would have the last event of the process's start.
    scope.setLastEventId(undefined);
    scope.setTransactionName(`${method} ${route}`);
    // From this the SDK takes what `dataCollection` lets it collect.
    const query_string = url.includes('?') ? url.slice(url.indexOf('?') + 1) : '';
    const normalizedRequest = { method, url: addressOf(this.#request), query_string, headers };
    // A function, because that is what the SDK does not copy. With it, a fork of this scope keeps
    // the span, too: a scope itself has only a weak reference to the active span.
    const requestKey = () => this.#span;
    const client = ipAddress === undefined ? {} : { ipAddress };
    scope.setSDKProcessingMetadata({ normalizedRequest, ...client, requestKey });
    // Not with the others, of which the SDK makes copies.
    if (this.#session) metadataOf(scope).requestSession = this.#session;
    return scope;
  }

  /** Decided once. */
  #isWantedNow(): boolean {
    this.#isWanted ??= this.#tracing.isWanted(this.#request);
    return this.#isWanted;
  }

  #startSpan(): void {
    this.#span = this.#isWantedNow()
      ? this.#tracing.startSpan(this.#request)
      : this.#tracing.leaveOut(this.#request);
    // The fork in which the span is the active one.
    if (this.#span) this.#scope = Sentry.withActiveSpan(this.#span, () => Sentry.getCurrentScope());
  }
}

/** Whether the trace of a request is recorded, so that it can be looked at. */
export const isTraced = (request: AnyRequest) => request[SCOPES]?.isTraced ?? false;

const outside = {};

/** What all forks of a request's scopes have in common; outside of requests there is one for all. */
export const currentRequest = () => requestOf(Sentry.getIsolationScope());

function requestOf(isolationScope: Sentry.Scope): object {
  return (metadataOf(isolationScope).requestKey as object | undefined) ?? outside;
}

/** Where the SDK keeps the scopes of what is being done, if that is known. */
let storage: AsyncLocalStorage<Scopes> | undefined;

function runIn<T>(scopes: Scopes, run: () => T): T {
  if (storage) return storage.run(scopes, run);
  // The same by the SDK's documented functions, which fork both scopes at once.
  return Sentry.withIsolationScope(scopes.isolationScope, () =>
    Sentry.withScope(scopes.scope, () => run()),
  );
}

/** Runs a function, and all that it begins, in the scopes of a request, or in the forks that it is in. */
export function inScopesOf<T>({ [SCOPES]: scopes }: AnyRequest, run: () => T): T {
  const isIn =
    scopes === null ||
    storage?.getStore() === scopes ||
    currentRequest() === requestOf(scopes.isolationScope);
  return isIn ? run() : runIn(scopes, run);
}

/** Has the listeners of a request or a response run in its scopes: Node calls them from the socket's. */
function bindListeners(emitter: EventEmitter, scopes: RequestScopes): void {
  const { emit } = emitter;
  emitter.emit = function (this: EventEmitter, ...args) {
    const [event] = args;
    if (this.listenerCount(event) === 0) return emit.apply(this, args);
    return runIn(scopes, () => emit.apply(this, args));
  };
}

/** Runs every request in scopes of its own, which makes all of the SDK's API right in it. */
async function scopes(app: FastifyInstance, options: TraceOptions) {
  app.decorateRequest(SCOPES, null);
  app.decorateRequest(WORK, null);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-trace-id', request.id);
    done();
  });
  if (!Sentry.isEnabled() && !options.otlpEndpoint) return;

  const lookup = Sentry.getClient<Sentry.NodeClient>()?.asyncLocalStorageLookup;
  // With OpenTelemetry's context the storage holds something else.
  storage = lookup?.contextSymbol
    ? undefined
    : (lookup?.asyncLocalStorage as typeof storage | undefined);
  const tracing = requestTracing(options);
  const collectsAddresses = Sentry.getClient()?.getDataCollectionOptions().userInfo === true;

  app.addHook('onRequest', (request, reply, done) => {
    const { raw, method, protocol, host, url, routeOptions } = request;
    const traced = {
      method,
      protocol,
      host,
      url,
      route: endpointOf(request),
      headers: request.headers as Record<string, string>,
      ipAddress: collectsAddresses ? request.ip : undefined,
      isTraceable: routeOptions.config.traced !== false,
      trace: traceContextOf(request),
    };
    const scopes = new RequestScopes(traced, tracing);
    request[SCOPES] = scopes;
    onEnd(reply, (statusCode) => scopes.end(statusCode, request[WORK]));
    bindListeners(raw, scopes);
    bindListeners(reply.raw, scopes);
    const { upgrade, stream } = raw as { upgrade?: boolean; stream?: EventEmitter };
    if (stream) bindListeners(stream, scopes);
    // From then on the connection is this request's alone: a WebSocket's, say.
    if (upgrade) bindListeners(raw.socket, scopes);
    if (routeOptions.handlerTimeout) {
      // A timer aborts it that Fastify started before the hooks, and so outside of these scopes.
      const { signal } = request;
      const { dispatchEvent } = signal;
      signal.dispatchEvent = (event) => runIn(scopes, () => dispatchEvent.call(signal, event));
    }
    runIn(scopes, done);
  });
  // After every onRequest hook: what those refuse costs no trace.
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    request[SCOPES]?.begin();
    inScopesOf(request, done);
  });
  // The hook before may have been called back by a connection that serves several requests.
  app.addHook('preValidation', (request, _reply, done) => inScopesOf(request, done));
  app.addHook('preHandler', (request, _reply, done) => inScopesOf(request, done));
  // Called by the socket, which belongs to no request or to the one before.
  app.addHook('onTimeout', (request, _reply, done) => inScopesOf(request, done));
}

export default fp(scopes, { name: 'scopes' });
