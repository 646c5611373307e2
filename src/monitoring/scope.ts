import type { AsyncLocalStorage } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { endpointOf, onEnd } from './request.ts';
import { addressOf } from './request-url.ts';
import { type TraceContext, traceContextOf } from './trace-context.ts';
import { requestTracing, type TraceOptions } from './traces.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the SDK knows of this request and of no other; null while nothing is sent anywhere. */
    scopes: RequestScopes | null;
    /** What the handler returned: a promise, if it works on. */
    work: unknown;
  }
}

/** The form in which the SDK keeps the scopes of what is being done. */
interface Scopes {
  readonly scope: Sentry.Scope;
  readonly isolationScope: Sentry.Scope;
}

/** What the application told the SDK at its start: the scopes that every request's are forks of. */
const defaults = { scope: Sentry.getCurrentScope(), isolationScope: Sentry.getIsolationScope() };

/**
 * The scopes of one request. The SDK's own way, `withIsolationScope`, forks both for every request;
 * these are forked when somebody asks for them, which most requests never do.
 */
export class RequestScopes implements Scopes {
  #reply: FastifyReply;
  #tracing: ReturnType<typeof requestTracing>;
  #isolationScope: Sentry.Scope | undefined;
  #scope: Sentry.Scope | undefined;
  #trace: TraceContext | undefined;
  /** Kept here, because a scope has but a weak reference to its span. */
  #span: Sentry.Span | undefined;
  #isWanted = false;
  /** Whether the request's span is recorded. */
  isTraced = false;

  constructor(reply: FastifyReply, tracing: ReturnType<typeof requestTracing>) {
    this.#reply = reply;
    this.#tracing = tracing;
  }

  get isolationScope(): Sentry.Scope {
    if (this.#isolationScope) return this.#isolationScope;
    const { request } = this.#reply;
    const { method } = request;
    const isolationScope = defaults.isolationScope.clone();
    this.#isolationScope = isolationScope;
    isolationScope.setTransactionName(`${method} ${endpointOf(request)}`);
    // From this the SDK takes what `dataCollection` lets it collect.
    const headers = request.headers as Record<string, string>;
    const normalizedRequest = { method, url: addressOf(request), headers };
    isolationScope.setSDKProcessingMetadata({ normalizedRequest, requestScopes: this });
    return isolationScope;
  }

  get scope(): Sentry.Scope {
    if (this.#scope) return this.#scope;
    this.#decide();
    const { request } = this.#reply;
    const scope = defaults.scope.clone();
    this.#scope = scope;
    scope.setPropagationContext(this.#trace as TraceContext);
    runIn({ scope, isolationScope: this.isolationScope }, () => {
      this.#span = this.#isWanted
        ? this.#tracing.startSpan(request)
        : this.#tracing.leaveOut(request);
      if (!this.#span) return;
      // The fork in which the span is the active one.
      this.#scope = Sentry.withActiveSpan(this.#span, () => Sentry.getCurrentScope());
      if (this.#span.isRecording()) this.#endWithRequest(this.#span);
    });
    return this.#scope;
  }

  /** Begins the request's span, if it is to have one. */
  begin(): void {
    this.#decide();
    if (this.#isWanted) void this.scope;
  }

  #decide(): void {
    if (this.#trace) return;
    const { request } = this.#reply;
    this.#trace = traceContextOf(request);
    this.#isWanted = this.#tracing.isWanted(request, this.#trace);
  }

  #endWithRequest(span: Sentry.Span): void {
    this.isTraced = true;
    const begin = performance.now();
    onEnd(this.#reply, async (statusCode) => {
      Sentry.setHttpStatus(span, statusCode);
      const seconds = (performance.now() - begin) / 1000;
      // The work may go on, after its answer or without its visitor, and other listeners have work,
      // too: spans that end after this one is sent would be sent alone.
      await Promise.allSettled([this.#reply.request.work]);
      span.end(Sentry.spanToJSON(span).start_timestamp + seconds);
    });
  }
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

/** Runs a function, and all that it begins, in the scopes of a request. */
export function inScopesOf<T>({ scopes }: FastifyRequest, run: () => T): T {
  return scopes === null || storage?.getStore() === scopes ? run() : runIn(scopes, run);
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
  app.decorateRequest('scopes', null);
  app.decorateRequest('work', null);
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

  app.addHook('onRequest', (request, reply, done) => {
    const scopes = new RequestScopes(reply, tracing);
    request.scopes = scopes;
    bindListeners(request.raw, scopes);
    bindListeners(reply.raw, scopes);
    runIn(scopes, done);
  });
  // After every onRequest hook: what those refuse costs no trace.
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    request.scopes?.begin();
    done();
  });
  // Called by the socket, which belongs to no request or to the one before.
  app.addHook('onTimeout', (request, _reply, done) => inScopesOf(request, done));
}

export default fp(scopes, { name: 'scopes' });
