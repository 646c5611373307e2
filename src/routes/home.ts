import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { guide } from '../guide.ts';
import { welcome } from '../plugins/visitor.ts';

/** The guide: every step of the article, and what is switched on at the moment. */
export default async function home(app: FastifyInstance, { config }: { config: Config }) {
  const sections = guide(config);

  app.get('/', async (request, reply) => {
    welcome(request, reply);
    return reply.view('home.eta', {
      title: 'The article, step by step',
      sections,
      config,
      sentryIsOn: Sentry.isEnabled(),
      tools: [
        { name: 'Tracker', url: config.SENTRY_URL },
        { name: 'Prometheus', url: config.PROMETHEUS_URL },
        { name: 'Grafana', url: config.GRAFANA_URL },
        { name: 'Alertmanager', url: config.ALERTMANAGER_URL },
        { name: 'Mailbox', url: config.MAILDEV_URL },
      ],
    });
  });
}
