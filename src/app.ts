import Fastify, { type FastifyServerOptions } from 'fastify';
import type { Config } from './config.ts';
import guide from './guide/index.ts';
import drain from './http/drain.ts';
import health from './http/health.ts';
import security, { SECURITY_HEADERS } from './http/security.ts';
import monitoring, { traceIds } from './monitoring/index.ts';
import otlpTraces from './monitoring/otlp-traces.ts';
import countRequests from './routes/count-requests.ts';
import myView from './routes/my-view.ts';
import triggerError from './routes/trigger-error.ts';

/** Builds the application, which does not listen yet. All its settings are in `config`. */
export function buildApp(config: Config, logger: FastifyServerOptions['logger'] = false) {
  const app = Fastify({
    logger,
    ...traceIds,
    // Django's addresses end in a slash; visitors leave it out.
    routerOptions: { ignoreTrailingSlash: true },
    // A client that sends slowly, or much, or nothing, does not hold a connection for long. The
    // slowest page takes 10 seconds, and no page takes a body.
    requestTimeout: 10_000,
    connectionTimeout: 20_000,
    http: {
      headersTimeout: 10_000,
      connectionsCheckingInterval: 2_000,
      // For src/http/security.ts, which refuses no Host and two with a page that is counted: Node.js
      // would answer the one before any hook, and give only the first of the other.
      requireHostHeader: false,
      joinDuplicateHeaders: true,
    },
    bodyLimit: 16 * 1024,
    // Or else what is not finite, as "1e400", passes every bound: it would not count as a number.
    ajv: { customOptions: { strictNumbers: false } },
    // An address that cannot be decoded is refused before any hook, by an answer of Fastify's own
    // that says who made it.
    frameworkErrors: (_error, _request, reply) => {
      const headers = { ...SECURITY_HEADERS, 'content-type': 'text/plain' };
      reply.raw.writeHead(400, headers).end('400 Bad Request\n');
    },
    // While it closes, src/http/drain.ts answers what still comes.
    return503OnClosing: false,
  });

  app.register(monitoring, {
    metrics: { host: config.HOST, port: config.METRICS_PORT },
    maxTracesPerSecond: config.SENTRY_MAX_TRACES_PER_SECOND,
  });
  app.register(otlpTraces, {
    endpoint: config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    serviceName: config.OTEL_SERVICE_NAME,
  });
  app.register(drain);
  app.register(countRequests);
  app.register(security, { allowedHosts: config.ALLOWED_HOSTS });
  app.register(guide, { config });

  app.register(triggerError, { errorsPerSecond: config.ERRORS_PER_SECOND });
  app.register(myView);
  app.register(health);
  return app;
}
