import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** Tells the tracker who asks, by an id that says nothing else: so it counts how many an error met. */
async function user(app: FastifyInstance) {
  // #region context
  app.addHook('onRequest', ({ visitorId }, _reply, done) => {
    if (visitorId) Sentry.setUser({ id: visitorId });
    done();
  });
  // #endregion
}

export default fp(user, { name: 'user', dependencies: ['visitor'] });
