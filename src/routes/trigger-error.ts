import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type WorkRoute, workQuerystring, yourCode } from './work.ts';

// #region error
/** The article's `trigger_error`: an error to see in the tracker. */
async function triggerError(_request: FastifyRequest, reply: FastifyReply) {
  // 1 / 0 is Infinity in JavaScript.
  // Only integers of type bigint refuse to be divided by zero.
  const divisionByZero = 1n / 0n;
  return reply.view('my-view.eta', { divisionByZero });
}
// #endregion

/** Another error, to be told apart from the first, and with what led to it. */
async function triggerAnotherError(request: FastifyRequest<WorkRoute>, reply: FastifyReply) {
  const { seconds } = request.query;
  // #region breadcrumb
  Sentry.addBreadcrumb({ category: 'work', message: `Working for ${seconds} s` });
  // #endregion
  // #region other-error
  await yourCode({ seconds });
  return reply.view('my-view.eta', JSON.parse('This is not JSON.'));
  // #endregion
}

export default async function routes(
  app: FastifyInstance,
  { errorsPerSecond }: { errorsPerSecond: number },
) {
  const config = { rateLimit: { max: errorsPerSecond, timeWindow: '1 second' } };
  app.get('/trigger-error/', { config }, triggerError);
  app.get<WorkRoute>(
    '/trigger-error/other/',
    { config, schema: { querystring: workQuerystring } },
    triggerAnotherError,
  );
}
