import { hostname } from 'node:os';
import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { activeUsers, requestCount } from '../metrics.ts';
import { eventUrl } from './links.ts';
import { readSnippets } from './snippets.ts';
import { guideSections, guideTools } from './steps.ts';
import { welcome } from './visitor.ts';

/** The guide: every step of the article, with what came of it so far. */
export default async function home(app: FastifyInstance, { config }: { config: Config }) {
  const snippets = readSnippets();
  const sections = guideSections(config);
  const tools = guideTools(config);

  app.get('/', async (request, reply) => {
    welcome(request, reply);
    const { lastEventId } = request;
    const visits = (await requestCount.get()).values.filter(
      ({ labels }) => labels.endpoint === '/my-view',
    );
    return reply.view('home.eta', {
      sections,
      tools,
      snippets,
      sentryIsOn: Sentry.isEnabled(),
      lastEventId,
      lastDelivery: app.deliveries.of(lastEventId),
      isFailing: app.deliveries.last?.isTaken === false,
      lost: await app.deliveries.lost(),
      lastEventUrl: lastEventId && eventUrl(config, lastEventId),
      visits: visits.reduce((sum, { value }) => sum + value, 0),
      activeUsers: (await activeUsers.get()).values[0]?.value,
      replica: hostname(),
      now: Date.now(),
    });
  });
}
