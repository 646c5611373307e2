/** Stops the process without dropping a request or an event. */
import { setTimeout as sleep } from 'node:timers/promises';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { onEnd } from '../monitoring/index.ts';

declare module 'fastify' {
  interface FastifyInstance {
    isShuttingDown: boolean;
    requestsInFlight: number;
  }
}

/**
 * The longest that each phase takes. Together less than stop_grace_period in docker-compose.yml.
 */
export const SHUTDOWN_SECONDS = {
  /** Requests are answered as before, until load balancers notice that /readyz fails. */
  drain: 1,
  /** Requests in flight are answered. */
  requests: 8,
  /** The last events are sent, and then, for as long again, the last spans. */
  flush: 2,
};

/** Closes the application on SIGTERM, SIGINT or an unexpected error. A second signal ends it at once. */
export function closeOnSignal(app: FastifyInstance): void {
  const { drain, requests, flush } = SHUTDOWN_SECONDS;
  const delay = (drain + requests + 2 * flush + 1) * 1000;

  closeWithGrace({ delay, logger: app.log }, async ({ signal, err }) => {
    if (err) app.log.fatal({ err }, 'unexpected error, shutting down');
    else app.log.info(`${signal} received, shutting down`);

    app.isShuttingDown = true;
    await sleep(drain * 1000);

    const closed = app.close();
    const deadline = Date.now() + requests * 1000;
    while (app.requestsInFlight > 0 && Date.now() < deadline) await sleep(20);
    // Node.js would wait for clients that have opened a connection and sent nothing.
    app.server.closeAllConnections();
    // The monitoring sends its last events when the application closes.
    await closed;
  });
}

async function shutdown(app: FastifyInstance) {
  app.decorate('isShuttingDown', false);
  app.decorate('requestsInFlight', 0);

  app.addHook('onRequest', (_request, reply, done) => {
    app.requestsInFlight += 1;
    onEnd(reply, () => {
      app.requestsInFlight -= 1;
    });
    done();
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (app.isShuttingDown) reply.header('connection', 'close');
    done();
  });
}

export default fp(shutdown, { name: 'shutdown', dependencies: ['monitoring'] });
