import type { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { endpointOf, onEnd } from './request.ts';
import { addressOf } from './request-url.ts';
import { sampler, spanOptions, type Trace, type TraceOptions, traceOf } from './traces.ts';

declare module 'fastify' {
  interface FastifyRequest {
    scopes: RequestScopes;
    /** Who asked, by an id that says nothing else of them; null if nobody knows. */
    userId: string | null;
    /** What the handler returned: a promise, as long as it works. */
    work: unknown;
  }
}

/** What the application told the SDK at its start: the scopes that every request's are forks of. */
const defaults = { scope: Sentry.getCurrentScope(), isolationScope: Sentry.getIsolationScope() };

/**
 * What the SDK knows of one request and of no other, in the form in which the SDK keeps it: two
 * forks of the process's own scopes. They are made when somebody asks for them, which few do.
 */
class RequestScopes {
  #reply: FastifyReply;
  #trace: Trace;
  #isSampled: ReturnType<typeof sampler>;
  #isDecided = false;
  #scope: Sentry.Scope | undefined;
  #isolationScope: Sentry.Scope | undefined;

  constructor(reply: FastifyReply, isSampled: ReturnType<typeof sampler>) {
    this.#reply = reply;
    this.#trace = traceOf(reply.request);
    this.#isSampled = isSampled;
  }

  get isTraced(): boolean {
    return this.#isDecided && this.#trace.sampled === true;
  }

  get isolationScope(): Sentry.Scope {
    if (this.#isolationScope) return this.#isolationScope;
    const { request } = this.#reply;
    const { method, userId } = request;
    const isolationScope = defaults.isolationScope.clone();
    this.#isolationScope = isolationScope;
    // #region context
    isolationScope.setTransactionName(`${method} ${endpointOf(request)}`);
    if (userId) isolationScope.setUser({ id: userId });
    // #endregion
    // The requests of one trace have its id in common.
    isolationScope.setTag('request_id', randomUUID());
    // From this the SDK takes what `dataCollection` lets it collect.
    const headers = request.headers as Record<string, string>;
    const normalizedRequest = { method, url: addressOf(request), headers };
    isolationScope.setSDKProcessingMetadata({ normalizedRequest });
    return isolationScope;
  }

  get scope(): Sentry.Scope {
    if (this.#scope) return this.#scope;
    const isTraced = this.#decide();
    const scope = defaults.scope.clone();
    this.#scope = scope.setPropagationContext(this.#trace);
    if (isTraced) this.#startSpan(scope);
    return this.#scope;
  }

  /** Begins the request's trace, if it is to be recorded. */
  begin(): void {
    if (this.#decide()) void this.scope;
  }

  #decide(): boolean {
    if (!this.#isDecided) {
      this.#isDecided = true;
      this.#trace.sampled = this.#isSampled(this.#reply.request, this.#trace);
    }
    return this.isTraced;
  }

  #startSpan(scope: Sentry.Scope): void {
    const { request } = this.#reply;
    Sentry.withIsolationScope(this.isolationScope, () => {
      Sentry.startSpanManual({ ...spanOptions(request, this.#trace), scope }, (span) => {
        // In this one the span is active.
        this.#scope = Sentry.getCurrentScope();
        onEnd(this.#reply, async (statusCode) => {
          // When the visitor leaves, the work goes on, and its spans belong to this one.
          await Promise.allSettled([request.work]);
          Sentry.setHttpStatus(span, statusCode);
          span.end();
        });
      });
    });
  }
}

/** Where the SDK keeps the scopes of what is being done. */
let storage: AsyncLocalStorage<unknown> | undefined;

/** Runs a function, and all that it begins, in the scopes of a request. */
export function inScopesOf({ scopes }: FastifyRequest, run: () => void): void {
  if (storage?.getStore() === scopes) run();
  else if (storage) storage.run(scopes, run);
  // The same by the SDK's documented functions: at twenty times the cost.
  else
    Sentry.withIsolationScope(scopes.isolationScope, () =>
      Sentry.withScope(scopes.scope, () => run()),
    );
}

/** Runs every request in scopes of its own, which makes all of the SDK's API right in it. */
async function scopes(app: FastifyInstance, options: TraceOptions) {
  const lookup = Sentry.getClient<Sentry.NodeClient>()?.asyncLocalStorageLookup;
  // Under OpenTelemetry the store is another.
  storage = lookup?.contextSymbol ? undefined : lookup?.asyncLocalStorage;
  const isSampled = sampler(options);

  app.decorateRequest('scopes');
  app.decorateRequest('work', null);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-trace-id', request.id);
    request.scopes = new RequestScopes(reply, isSampled);
    inScopesOf(request, done);
  });
  // After every onRequest hook: what those refuse leaves no trace.
  app.addHook('preParsing', (request, _reply, _payload, done) => {
    request.scopes.begin();
    done();
  });
  // These are begun by the socket or a timer, which belong to no request, or to the one before.
  app.addHook('onError', (request, _reply, _error, done) => inScopesOf(request, done));
  app.addHook('onTimeout', (request, _reply, done) => inScopesOf(request, done));
  app.addHook('onResponse', (request, _reply, done) => inScopesOf(request, done));
}

export default fp(scopes, { name: 'scopes' });
