import { setTimeout as sleep } from 'node:timers/promises';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import fp from 'fastify-plugin';
import language from '../../dist/guide/language.js';
import visitor from '../../dist/guide/visitor.js';
import { context, views } from './page.js';

const querystring = {
  type: 'object',
  properties: { seconds: { type: 'number', minimum: 0, maximum: 10, default: 0.1 } },
};

/** The application's pages with nothing that monitors them but, where it is given, the gauge. */
async function myView(app, { activeUsers }) {
  app.register(visitor, { secret: '' });
  app.register(language);
  app.register(fastifyView, {
    engine: { eta: new Eta() },
    root: views,
    defaultContext: context,
  });

  const onRequest = (_request, reply, done) => {
    activeUsers.inc();
    reply.raw.once('close', () => activeUsers.dec());
    done();
  };

  app.get(
    '/my-view',
    { schema: { querystring }, ...(activeUsers && { onRequest }) },
    async (request, reply) => {
      const { seconds } = request.query;
      await sleep(seconds * 1000);
      return reply.view('my-view.eta', { seconds });
    },
  );

  app.get('/trigger-error/', async (_request, reply) => {
    const divisionByZero = 1n / 0n;
    return reply.view('my-view.eta', { divisionByZero });
  });
}

export default fp(myView);
