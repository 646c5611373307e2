import Fastify, { type FastifyServerOptions } from 'fastify';
import type { Config } from './config.ts';
import guide from './guide/index.ts';
import probes from './http/probes.ts';
import securityHeaders from './http/security-headers.ts';
import shutdown, { SHUTDOWN_SECONDS } from './http/shutdown.ts';
import monitoring, { traceIds } from './monitoring/index.ts';
import otlpTraces from './monitoring/otlp-traces.ts';
import { eventsLost, eventsWaiting } from './monitoring/spool.ts';
import countRequests from './routes/count-requests.ts';
import myView from './routes/my-view.ts';
import triggerError from './routes/trigger-error.ts';

/** Builds the application, without listening yet. */
export function buildApp(config: Config, logger: FastifyServerOptions['logger'] = false) {
  const app = Fastify({
    logger,
    ...traceIds,
    // Django's URLs end in a slash; visitors leave it out.
    routerOptions: { ignoreTrailingSlash: true },
    // Milliseconds that a client may take to send a request.
    requestTimeout: 10_000,
    // By default Ajv lets "1e400", which is Infinity, pass every maximum.
    ajv: { customOptions: { strictNumbers: false } },
  });

  const flushTimeout = SHUTDOWN_SECONDS.flush * 1000;
  app.register(monitoring, {
    metrics: { host: config.HOST, port: config.METRICS_PORT },
    maxTracesPerSecond: config.SENTRY_MAX_TRACES_PER_SECOND,
    flushTimeout,
  });
  app.register(otlpTraces, {
    endpoint: config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    serviceName: config.OTEL_SERVICE_NAME,
    flushTimeout,
  });
  app.register(shutdown);
  app.register(securityHeaders);
  app.register(countRequests);
  app.register(guide, { config, eventsLost, eventsWaiting });

  app.register(triggerError);
  app.register(myView);
  app.register(probes);
  return app;
}
