import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import fp from 'fastify-plugin';
import language, { textFor } from '../../dist/plugins/language.js';
import visitor from '../../dist/plugins/visitor.js';

const querystring = {
  type: 'object',
  properties: { seconds: { type: 'number', minimum: 0, maximum: 10, default: 0.1 } },
};

/** The application's pages with nothing that monitors them but, where it is given, the gauge. */
async function myView(app, { metrics }) {
  const root = fileURLToPath(new URL('../../views', import.meta.url));
  app.register(fastifyView, { engine: { eta: new Eta() }, root });
  app.register(visitor, { config: { COOKIE_SECRET: '' } });
  app.register(language);

  const onRequest = (_request, reply, done) => {
    metrics.activeUsers.inc();
    reply.raw.once('close', () => metrics.activeUsers.dec());
    done();
  };

  app.get(
    '/my-view',
    { schema: { querystring }, ...(metrics && { onRequest }) },
    async (request, reply) => {
      const { seconds } = request.query;
      await sleep(seconds * 1000);
      const text = textFor(request, reply);
      return reply.view('my-view.eta', { text, seconds, counterUrl: '', gaugeUrl: '' });
    },
  );

  app.get('/trigger-error/', async (_request, reply) => {
    const divisionByZero = 1n / 0n;
    return reply.view('my-view.eta', { divisionByZero });
  });
}

export default fp(myView);
