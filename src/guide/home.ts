import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { activeUsers, requestCount } from '../metrics.ts';
import type { Deliveries } from './deliveries.ts';
import { checkSteps } from './language.ts';
import type { Links } from './links.ts';
import { readSnippet } from './snippets.ts';
import { guideSections, isStack } from './steps.ts';
import { welcome } from './visitor.ts';

export interface HomeOptions {
  config: Config;
  deliveries: () => Promise<Deliveries>;
  links: Links;
}

/** The guide: every step of the article, with its results so far. */
export default async function home(app: FastifyInstance, options: HomeOptions) {
  const { config, deliveries, links } = options;
  const sections = guideSections(config, links);
  const steps = sections.flatMap((section) => section.steps);
  checkSteps(steps);
  const names = steps.flatMap((step) => step.snippets);
  const snippets = Object.fromEntries(names.map((name) => [name, readSnippet(name)]));

  app.get('/', async (request, reply) => {
    welcome(request, reply);
    const visits = (await requestCount.get()).values.filter(
      ({ labels }) => labels.endpoint === '/my-view',
    );
    return reply.view('home.eta', {
      sections,
      steps,
      snippets,
      isStack: isStack(config),
      config,
      sentryIsOn: Sentry.isEnabled(),
      lastEventId: request.lastEventId,
      deliveries: await deliveries(),
      visits: visits.reduce((sum, { value }) => sum + value, 0),
      activeUsers: (await activeUsers.get()).values[0]?.value,
      replica: hostname(),
      now: Date.now(),
    });
  });

  // Chromium loads the same URL in two tabs one after the other, so each visit gets a different
  // one.
  app.get('/hold', async (_request, reply) =>
    reply.redirect(`/my-view?seconds=10&from=instrument&visit=${randomUUID()}`),
  );
}
