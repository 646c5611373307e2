import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

// #region error
async function triggerError(_request: FastifyRequest, reply: FastifyReply) {
  // 1 / 0 is Infinity in JavaScript. Only a bigint throws.
  const divisionByZero = 1n / 0n;
  return reply.view('my-view.eta', { divisionByZero });
}
// #endregion

async function triggerAnotherError(_request: FastifyRequest, reply: FastifyReply) {
  // #region breadcrumb
  Sentry.addBreadcrumb({ category: 'order', message: 'Order 42 was received' });
  // #endregion
  // #region other-error
  return reply.view('my-view.eta', JSON.parse('This is not JSON.'));
  // #endregion
}

export default async function routes(app: FastifyInstance) {
  app.get('/trigger-error/', triggerError);
  app.get('/trigger-error/other/', triggerAnotherError);
}
