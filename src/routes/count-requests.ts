import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { requestCount } from '../metrics.ts';
import { labelsOf, routeLabels } from '../monitoring/index.ts';

/** The article's `REQUEST_COUNT.labels(request.method, request.path).inc()`, for every route. */
async function countRequests(app: FastifyInstance) {
  // #region counter
  app.addHook('onRequest', (request, _reply, done) => {
    requestCount.inc(labelsOf(request));
    done();
  });
  // #endregion

  // A series that starts at 0 lets rate() see the first request.
  app.addHook('onRoute', (route) => {
    for (const labels of routeLabels(route)) requestCount.inc(labels, 0);
  });
}

export default fp(countRequests, { name: 'count-requests' });
