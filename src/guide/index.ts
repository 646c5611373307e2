/** The pages around the article's: the guide at `/`, its words and style, and the error pages. */
import { fileURLToPath } from 'node:url';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import deliveries from './deliveries.ts';
import errorPages from './error-pages.ts';
import home from './home.ts';
import language from './language.ts';
import { addParameters, prometheusQuery, traceUrl } from './links.ts';
import stylesheet, { readStylesheet } from './stylesheet.ts';
import user from './user.ts';
import visitor from './visitor.ts';

const VIEWS = fileURLToPath(new URL('../../views', import.meta.url));

async function guide(app: FastifyInstance, { config }: { config: Config }) {
  const style = readStylesheet(VIEWS);
  await app.register(visitor, { secret: config.COOKIE_SECRET });
  await app.register(user);
  await app.register(language);
  await app.register(fastifyView, {
    engine: { eta: new Eta() },
    root: VIEWS,
    defaultContext: {
      config,
      stylesheet: style.url,
      addParameters,
      traceUrl: (traceId: string) => traceUrl(config, traceId),
      query: (expression: string) => prometheusQuery(config.PROMETHEUS_URL, expression),
    },
  });
  await app.register(deliveries);
  await app.register(errorPages, { config });
  app.register(home, { config });
  app.register(stylesheet, style);
}

export default fp(guide, { name: 'guide', dependencies: ['monitoring'] });
