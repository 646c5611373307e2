import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { activeUsers } from '../metrics.ts';
import { onEnd } from '../monitoring/index.ts';
import { type WorkRoute, workQuerystring, yourCode } from './work.ts';

// #region gauge
async function myView(request: FastifyRequest<WorkRoute>, reply: FastifyReply) {
  activeUsers.inc();
  // A dec() after the work is not reached when the work throws.
  onEnd(reply, () => activeUsers.dec());
  await yourCode(request.query);
  return reply.view('my-view.eta', { seconds: request.query.seconds });
}
// #endregion

export default async function routes(app: FastifyInstance) {
  app.get('/my-view', { schema: { querystring: workQuerystring } }, myView);
}
