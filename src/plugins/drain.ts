import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/**
 * While the application closes, tells every client whose request is still answered to close its
 * connection. Otherwise a kept-alive one stays open after its last response, and the close waits
 * for it until the grace period is over.
 */
async function drain(app: FastifyInstance) {
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });
}

export default fp(drain, { name: 'drain' });
