/** The application's my-view and trigger-error on Fastify, without monitoring. */
import { setTimeout as sleep } from 'node:timers/promises';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import fp from 'fastify-plugin';
import { context, views } from './page.js';

const querystring = {
  type: 'object',
  properties: { seconds: { type: 'number', minimum: 0, maximum: 10, default: 0.1 } },
};

async function myView(app) {
  app.register(fastifyView, { engine: { eta: new Eta() }, root: views, defaultContext: context });

  app.get('/my-view', { schema: { querystring } }, async (request, reply) => {
    const { seconds } = request.query;
    await sleep(seconds * 1000);
    return reply.view('my-view.eta', { seconds });
  });

  app.get('/trigger-error/', async (_request, reply) => {
    const divisionByZero = 1n / 0n;
    return reply.view('my-view.eta', { divisionByZero });
  });
}

export default fp(myView);
