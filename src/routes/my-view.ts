import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import { textFor } from '../plugins/language.ts';
import { prometheusQuery } from '../prometheus-query.ts';
import { type WorkQuery, workQuerystring, yourCode } from '../work.ts';

/** The article's `my_view`: a page that is counted, with an active user while it is being served. */
export default async function myView(
  app: FastifyInstance,
  { config, metrics }: { config: Config; metrics: Metrics },
) {
  const { activeUsers } = metrics;
  const counterUrl = prometheusQuery(
    config.PROMETHEUS_URL,
    'django_http_requests_total{endpoint="/my-view"}',
  );
  const gaugeUrl = prometheusQuery(config.PROMETHEUS_URL, 'django_active_users');

  app.get<{ Querystring: WorkQuery }>(
    '/my-view',
    {
      schema: { querystring: workQuerystring },
      // #region gauge
      // A dec() after the work, as in the article, is never reached when the work throws or the
      // visitor leaves. "close" comes once for every request, however it ends.
      onRequest: (_request, reply, done) => {
        activeUsers.inc();
        reply.raw.on('close', () => activeUsers.dec());
        done();
      },
      // #endregion
    },
    async (request, reply) => {
      await yourCode(request);
      const { seconds } = request.query;
      const text = textFor(request, reply);
      return reply.view('my-view.eta', { text, seconds, counterUrl, gaugeUrl });
    },
  );
}
