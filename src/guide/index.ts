/** The pages around the article's: the guide at `/`, its texts and style, and the error pages. */
import { fileURLToPath } from 'node:url';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { type DeliveryMetrics, readDeliveries } from './deliveries.ts';
import errorPages from './error-pages.ts';
import home from './home.ts';
import language from './language.ts';
import { linksFor } from './links.ts';
import stylesheet, { readStylesheet } from './stylesheet.ts';
import visitor from './visitor.ts';

const VIEWS = fileURLToPath(new URL('../../views', import.meta.url));

export interface GuideOptions extends DeliveryMetrics {
  config: Config;
}

async function guide(app: FastifyInstance, { config, ...metrics }: GuideOptions) {
  const style = readStylesheet(VIEWS);
  const links = linksFor(config);
  const deliveries = () => readDeliveries(metrics);

  await app.register(visitor);
  await app.register(language);
  await app.register(fastifyView, {
    engine: { eta: new Eta() },
    root: VIEWS,
    defaultContext: {
      login: config.SENTRY_LOGIN.replace(':', ' / '),
      links,
      stylesheet: style.url,
    },
  });
  await app.register(errorPages, { deliveries, links });
  app.register(home, { config, deliveries, links });
  app.register(stylesheet, style);
}

export default fp(guide, { name: 'guide', dependencies: ['monitoring'] });
