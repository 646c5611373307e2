import type { FastifyInstance } from 'fastify';
import { type WorkQuery, workQuerystring, yourCode } from './work.ts';

/** The article's `trigger_error` view: an error to see in the tracker, and another to tell apart. */
export default async function triggerError(
  app: FastifyInstance,
  { errorsPerSecond }: { errorsPerSecond: number },
) {
  const config = { rateLimit: { max: errorsPerSecond, timeWindow: '1 second' } };

  // #region error
  app.get('/trigger-error/', { config }, async (_request, reply) => {
    // 1 / 0 is Infinity in JavaScript.
    // Only integers of type bigint refuse to be divided by zero.
    const divisionByZero = 1n / 0n;
    return reply.view('my-view.eta', { divisionByZero });
  });
  // #endregion

  app.get<{ Querystring: WorkQuery }>(
    '/trigger-error/other/',
    { config, schema: { querystring: workQuerystring } },
    async (request, reply) => {
      // #region other-error
      await yourCode(request);
      return reply.view('my-view.eta', JSON.parse('This is not JSON.'));
      // #endregion
    },
  );
}
