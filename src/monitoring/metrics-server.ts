import * as Sentry from '@sentry/node';
import Fastify, { type FastifyBaseLogger } from 'fastify';
import { copyOf, readable } from './readable-error.ts';
import { openMetricsRegistry, textRegistry } from './registry.ts';

/**
 * Serves /metrics on a port of its own: one that Prometheus reaches and the world does not, and
 * whose requests are in no log and in none of the metrics. Only what fails there is logged.
 */
export function buildMetricsServer(log: FastifyBaseLogger) {
  // A scraper's connection, or a silent one, must not hold up the end of the process.
  const server = Fastify({ forceCloseConnections: true });
  let isFailing = false;

  server.get('/metrics', async (request, reply) => {
    const format = wantsOpenMetrics(request.headers.accept) ? openMetricsRegistry : textRegistry;
    try {
      const metrics = await format.metrics();
      isFailing = false;
      return reply.type(format.contentType).header('vary', 'accept').send(metrics);
    } catch (error) {
      log.error({ err: copyOf(error) }, 'the metrics cannot be read');
      // One event and not one for each scrape, until the metrics can be read again.
      if (!isFailing) Sentry.captureException(readable(error));
      isFailing = true;
      return reply.code(500).type('text/plain').send('The metrics cannot be read.\n');
    }
  });
  return server;
}

/**
 * Whether a client asks for OpenMetrics, and wants text no more than that. Everybody else gets text,
 * which a browser shows instead of saving it.
 */
function wantsOpenMetrics(accept = ''): boolean {
  let openMetrics = 0;
  /** The quality of each range that may mean text. Of those the most exact counts. */
  const text: Record<string, number> = {};
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    const parameterOf = (name: string) =>
      parameters.find((parameter) => parameter.startsWith(`${name}=`))?.slice(name.length + 1);
    const quality = Number(parameterOf('q') ?? 1) || 0;
    if (type === 'application/openmetrics-text') {
      // Of its versions this is the one that is written here.
      const isOurs = /^("?)1\.0\.0\1$/.test(parameterOf('version') ?? '1.0.0');
      if (isOurs) openMetrics = Math.max(openMetrics, quality);
    } else {
      text[type] = Math.max(text[type] ?? 0, quality);
    }
  }
  const textQuality = text['text/plain'] ?? text['text/*'] ?? text['*/*'] ?? 0;
  return openMetrics > 0 && openMetrics >= textQuality;
}
