import type { FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import type { Metrics } from '../metrics.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Names the trace or event that this request can be looked at in; null if there is none. */
    exemplarLabels: Record<string, string> | null;
  }
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** nginx's code for a client that hung up before its response was sent. */
const CLIENT_CLOSED_REQUEST = 499;

/** How a request ended whose connection is done with it. */
export function statusCodeSent({ raw, statusCode }: FastifyReply): number {
  return raw.writableFinished ? statusCode : CLIENT_CLOSED_REQUEST;
}

/**
 * Counts and times every request. The labels are bounded whatever a client sends: the endpoint is
 * the route's pattern and never the raw path, and methods out of the ordinary share one value.
 */
async function requestMetrics(app: FastifyInstance, { metrics }: { metrics: Metrics }) {
  const { requestCount, requestDuration } = metrics;

  // A series that starts at 0 lets rate() see the first request, and a panel of errors show "0".
  app.addHook('onRoute', ({ method: methods, url: endpoint }) => {
    // Fastify adds a HEAD route to every GET route; its series may begin with its first request.
    for (const method of [methods].flat().filter((method) => method !== 'HEAD')) {
      requestCount.inc({ method, endpoint }, 0);
      for (const status_code of [200, 500]) {
        requestDuration.zero({ method, endpoint, status_code });
      }
    }
  });

  app.decorateRequest('exemplarLabels', null);

  // #region counter
  app.addHook('onRequest', (request, reply, done) => {
    const method = METHODS.has(request.method) ? request.method : 'other';
    const endpoint = request.routeOptions.url ?? 'unmatched';
    requestCount.inc({ method, endpoint });
    // #endregion

    const start = performance.now();
    // "close" comes once for every request, also for one that the client gave up.
    reply.raw.on('close', () => {
      requestDuration.observe({
        labels: { method, endpoint, status_code: statusCodeSent(reply) },
        value: (performance.now() - start) / 1000,
        ...(request.exemplarLabels && { exemplarLabels: request.exemplarLabels }),
      });
    });
    done();
  });
}

export default fp(requestMetrics, { name: 'request-metrics' });
