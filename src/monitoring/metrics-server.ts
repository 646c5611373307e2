import Fastify from 'fastify';
import { registry } from './registry.ts';

/**
 * Serves /metrics on a port of its own: one that Prometheus reaches and the world does not, and
 * whose requests are in no log and in none of the metrics.
 */
export function buildMetricsServer() {
  // A scraper's connection, or a silent one, must not hold up the end of the process.
  const server = Fastify({ forceCloseConnections: true });
  server.get('/metrics', async (_request, reply) => {
    reply.type(registry.contentType);
    return registry.metrics();
  });
  return server;
}
