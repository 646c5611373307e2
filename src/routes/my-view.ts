import type { FastifyInstance } from 'fastify';
import { activeUsers } from '../metrics.ts';
import { onEnd } from '../monitoring/index.ts';
import { type WorkQuery, workQuerystring, yourCode } from './work.ts';

/** The article's `my_view`: a page with an active user while it is being served. */
export default async function myView(app: FastifyInstance) {
  app.get<{ Querystring: WorkQuery }>(
    '/my-view',
    {
      schema: { querystring: workQuerystring },
      // #region gauge
      onRequest: (_request, reply, done) => {
        activeUsers.inc();
        // A dec() after the work is never reached when the work throws or the visitor leaves.
        onEnd(reply, () => activeUsers.dec());
        done();
      },
      // #endregion
    },
    async (request, reply) => {
      await yourCode(request);
      return reply.view('my-view.eta', { seconds: request.query.seconds });
    },
  );
}
