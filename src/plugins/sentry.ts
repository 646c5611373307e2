import * as Sentry from '@sentry/node';
import type { FastifyError, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** What Sentry knows of this request, apart from all those served at the same time. */
    sentry: { scope: Sentry.Scope; span: Sentry.Span; eventId?: string } | null;
  }
}

/**
 * The article's `DjangoIntegration()`: every request has a trace, and every error that would be
 * answered with a 5xx is captured once, with the request that it happened in.
 */
async function sentry(app: FastifyInstance) {
  if (!Sentry.isEnabled()) return;
  app.decorateRequest('sentry', null);

  app.addHook('onRequest', (request, reply, done) => {
    const { method, protocol, host, headers } = request;
    const route = request.routeOptions.url ?? 'unmatched';
    const path = request.url.split('?', 1)[0];

    Sentry.withIsolationScope((scope) => {
      scope.setTransactionName(`${method} ${route}`);
      // Without the query string: visitors put into addresses what nobody else should read.
      const normalizedRequest = { method, url: `${protocol}://${host}${path}` };
      scope.setSDKProcessingMetadata({ normalizedRequest });

      const { 'sentry-trace': sentryTrace, baggage } = headers;
      Sentry.continueTrace({ sentryTrace: sentryTrace as string | undefined, baggage }, () => {
        const attributes = {
          'sentry.segment.name.source': 'route' as const,
          'http.request.method': method,
          'http.route': route,
          'url.path': path,
        };
        Sentry.startSpanManual(
          { name: `${method} ${route}`, op: 'http.server', attributes },
          (span) => {
            request.sentry = { scope, span };
            reply.raw.once('close', () => {
              Sentry.setHttpStatus(span, reply.statusCode);
              span.end();
            });
            // The rest of the request runs inside: its own spans and breadcrumbs come along.
            done();
          },
        );
      });
    });
  });

  // Runs before the error handler, for errors of handlers and hooks alike.
  app.addHook('onError', async (request, _reply, error: FastifyError) => {
    const { sentry } = request;
    if (!sentry || (error.statusCode ?? 500) < 500) return;
    // Not left to the asynchronous context, which is lost where a request's body is parsed.
    Sentry.withIsolationScope(sentry.scope, () =>
      Sentry.withActiveSpan(sentry.span, () => {
        sentry.eventId = Sentry.captureException(error, {
          mechanism: { type: 'fastify', handled: false },
        });
      }),
    );
  });
}

export default fp(sentry, { name: 'sentry' });
