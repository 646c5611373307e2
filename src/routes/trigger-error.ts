import type { FastifyInstance } from 'fastify';

/** The article's `trigger_error` view: an error to see in the tracker. */
export default async function triggerError(app: FastifyInstance) {
  app.get('/trigger-error/', async (_request, reply) => {
    // 1 / 0 is Infinity in JavaScript; only integers of type bigint refuse to be divided by zero.
    const divisionByZero = 1n / 0n;
    return reply.view('my-view.eta', { divisionByZero });
  });
}
