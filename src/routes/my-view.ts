import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { activeUsers } from '../metrics.ts';
import { onEnd } from '../monitoring/index.ts';
import { type WorkRoute, workQuerystring, yourCode } from './work.ts';

// #region gauge
const countActiveUser: onRequestHookHandler = (_request, reply, done) => {
  activeUsers.inc();
  // A dec() after the work is never reached when the work throws or the visitor leaves.
  onEnd(reply, () => activeUsers.dec());
  done();
};
// #endregion

/** The article's `my_view`: a page with an active user while it is being served. */
async function myView(request: FastifyRequest<WorkRoute>, reply: FastifyReply) {
  await yourCode(request.query);
  return reply.view('my-view.eta', { seconds: request.query.seconds });
}

export default async function routes(app: FastifyInstance) {
  app.get<WorkRoute>(
    '/my-view',
    { schema: { querystring: workQuerystring }, onRequest: countActiveUser },
    myView,
  );
}
