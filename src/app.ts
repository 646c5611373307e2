import { fileURLToPath } from 'node:url';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import Fastify, { type FastifyServerOptions } from 'fastify';
import type { Config } from './config.ts';
import type { Metrics } from './metrics.ts';
import drain from './plugins/drain.ts';
import errorPages from './plugins/error-pages.ts';
import language from './plugins/language.ts';
import requestMetrics from './plugins/request-metrics.ts';
import security, { SECURITY_HEADERS } from './plugins/security.ts';
import sentry from './plugins/sentry.ts';
import visitor from './plugins/visitor.ts';
import health, { PROBES } from './routes/health.ts';
import home from './routes/home.ts';
import myView from './routes/my-view.ts';
import stylesheet from './routes/stylesheet.ts';
import triggerError from './routes/trigger-error.ts';
import { traceContextOf } from './trace-context.ts';

const VIEWS = fileURLToPath(new URL('../views', import.meta.url));

/** Builds the application. It listens to nothing, and reads nothing from the environment. */
export function buildApp({
  config,
  metrics,
  logger = false,
}: {
  config: Config;
  metrics: Metrics;
  logger?: FastifyServerOptions['logger'];
}) {
  const app = Fastify({
    logger,
    // Every line of a request names its trace, beginning with the first.
    childLoggerFactory: (logger, bindings, options, request) =>
      logger.child({ ...bindings, trace_id: traceContextOf(request).traceId }, options),
    // Django's addresses end in a slash; visitors leave it out.
    routerOptions: { ignoreTrailingSlash: true },
    // A client that sends slowly, or much, or nothing, does not hold a connection for long. The
    // slowest page takes 10 seconds, and no page takes a body.
    requestTimeout: 10_000,
    connectionTimeout: 20_000,
    http: { headersTimeout: 10_000, connectionsCheckingInterval: 2_000 },
    bodyLimit: 16 * 1024,
    // An address that cannot be decoded is refused before any hook, by an answer of Fastify's own
    // that says who made it.
    frameworkErrors: (_error, _request, reply) => {
      const headers = { ...SECURITY_HEADERS, 'content-type': 'text/plain' };
      reply.raw.writeHead(400, headers).end('400 Bad Request\n');
    },
    // While it closes, src/plugins/drain.ts answers what still comes.
    return503OnClosing: false,
  });

  app.register(drain);
  app.register(visitor, { config });
  app.register(language);
  app.register(requestMetrics, { metrics });
  // Before a trace begins: what is refused leaves none.
  app.register(security, { config });
  app.register(sentry, { config, untracedRoutes: [...PROBES, '/style.css'] });
  app.register(fastifyView, { engine: { eta: new Eta() }, root: VIEWS });
  app.register(errorPages, { config });

  app.register(home, { config, metrics });
  app.register(triggerError, { config });
  app.register(myView, { config, metrics });
  app.register(health);
  app.register(stylesheet, { views: VIEWS });
  return app;
}
