import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { eventUrl } from '../event-url.ts';
import type { Metrics } from '../metrics.ts';
import { textFor } from '../plugins/language.ts';
import { welcome } from '../plugins/visitor.ts';
import { prometheusQuery } from '../prometheus-query.ts';
import { readSnippets } from '../snippets.ts';

/** The guide: every step of the article, with what came of it so far. */
export default async function home(
  app: FastifyInstance,
  { config, metrics: { requestCount, activeUsers } }: { config: Config; metrics: Metrics },
) {
  const snippets = readSnippets();
  const query = (expression: string) => prometheusQuery(config.PROMETHEUS_URL, expression);

  app.get('/', async (request, reply) => {
    welcome(request, reply);
    const { lastEventId } = request;
    const visits = (await requestCount.get()).values.filter(
      ({ labels }) => labels.endpoint === '/my-view',
    );
    return reply.view('home.eta', {
      text: textFor(request, reply),
      config,
      snippets,
      query,
      sentryIsOn: Sentry.isEnabled(),
      lastEventId,
      lastEventUrl: lastEventId && eventUrl(config.SENTRY_EVENT_URL, lastEventId),
      visits: visits.reduce((sum, { value }) => sum + value, 0),
      activeUsers: (await activeUsers.get()).values[0]?.value,
      now: Date.now(),
    });
  });
}
