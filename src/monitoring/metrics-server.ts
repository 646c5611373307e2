import Fastify, { type FastifyInstance, type FastifyListenOptions, LogController } from 'fastify';
import fp from 'fastify-plugin';
import { collectDefaultMetrics, register } from 'prom-client';

export interface MetricsServerOptions {
  listen: FastifyListenOptions;
}

/**
 * Serves /metrics on a port of its own, which only Prometheus needs to reach. Scrapes don't show up
 * in the application's logs, traces and metrics.
 */
async function metricsServer(app: FastifyInstance, { listen }: MetricsServerOptions) {
  // A scraper's open connection must not delay the shutdown.
  const server = Fastify({
    loggerInstance: app.log,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true,
  });

  server.get('/metrics', async (request, reply) => {
    const metrics = await register.metrics();
    // A browser would save OpenMetrics to a file.
    const isBrowser = request.headers.accept?.includes('text/html');
    return reply.type(isBrowser ? 'text/plain; charset=utf-8' : register.contentType).send(metrics);
  });

  app.addHook('onReady', async () => {
    // An application that collects them itself has done so by now.
    if (!register.getSingleMetric('process_cpu_user_seconds_total')) collectDefaultMetrics();
    await server.listen({
      listenTextResolver: (address) => `Metrics at ${address}/metrics`,
      ...listen,
    });
  });
  app.addHook('onClose', () => server.close());
}

export default fp(metricsServer, { name: 'metrics-server' });
