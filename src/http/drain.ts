import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { onEnd } from '../monitoring/index.ts';
import { stopBudget } from './stop-budget.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the application closes: it answers as before, but wants no more traffic. */
    draining: boolean;
  }
}

/**
 * Closes without dropping a request. For a moment everything is answered as before, with the request
 * to close the connection: to hang up at once would meet requests that are on their way. Connections
 * that no request is on by then are closed, also silent ones, for which the server would wait.
 */
async function drain(app: FastifyInstance) {
  let requests = 0;
  let farewellIsOver = false;
  const hangUpWhenDone = () => {
    if (farewellIsOver && requests === 0) app.server.closeAllConnections();
  };

  app.decorate('draining', false);
  app.addHook('preClose', async () => {
    app.draining = true;
    await sleep(stopBudget.farewell);
    farewellIsOver = true;
    hangUpWhenDone();
    setTimeout(() => {
      if (requests > 0) app.log.warn({ requests }, 'hanging up on requests that take too long');
      app.server.closeAllConnections();
    }, stopBudget.requests).unref();
  });

  app.addHook('onRequest', (_request, reply, done) => {
    requests += 1;
    onEnd(reply, () => {
      requests -= 1;
      hangUpWhenDone();
    });
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (app.draining) reply.header('connection', 'close');
    done();
  });
}

export default fp(drain, { name: 'drain' });
