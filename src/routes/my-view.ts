import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import { prometheusQuery } from '../prometheus-query.ts';

/** `?seconds=` is how long the work takes. Bounded: a visitor must not hold a request for ever. */
const querystring = {
  type: 'object',
  properties: { seconds: { type: 'number', minimum: 0, maximum: 10, default: 0.1 } },
} as const;

/** The article's `my_view`: a page that is counted, with an active user while it is being served. */
export default async function myView(
  app: FastifyInstance,
  { config, metrics }: { config: Config; metrics: Metrics },
) {
  const { activeUsers } = metrics;

  app.get<{ Querystring: { seconds: number } }>(
    '/my-view',
    {
      schema: { querystring },
      // A dec() after the work, as in the article, is never reached when the work throws or the
      // visitor leaves. "close" comes once for every request, however it ends.
      onRequest: async (_request, reply) => {
        activeUsers.inc();
        reply.raw.once('close', () => activeUsers.dec());
      },
    },
    async (request, reply) => {
      await yourCode(request.query.seconds);
      return reply.view('my-view.eta', {
        title: 'My view',
        seconds: request.query.seconds,
        counterUrl: prometheusQuery(config.PROMETHEUS_URL, COUNTER),
        gaugeUrl: prometheusQuery(config.PROMETHEUS_URL, 'django_active_users'),
      });
    },
  );
}

const COUNTER = 'django_http_requests_total{endpoint="/my-view"}';

/** The article's `# ... your code ...`: work that waits, as for a database, and takes `seconds`. */
async function yourCode(seconds: number): Promise<void> {
  await sleep(seconds * 1000);
}
