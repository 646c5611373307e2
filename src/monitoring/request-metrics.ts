import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Histogram, register } from 'prom-client';
import { labelsOf, onEnd, routeLabels } from './request.ts';
import { recordedTraceId } from './sentry.ts';

const NAME = 'http_request_duration_seconds';

/** A series that starts at 0 lets rate() see the first request. */
const FIRST_STATUSES = [200, 500, 503];

/** Times every request. The last one in each bucket is linked to its trace and its event. */
async function requestMetrics(app: FastifyInstance) {
  const requestDuration = getHistogram();

  app.addHook('onRoute', (route) => {
    for (const labels of routeLabels(route)) {
      for (const status_code of FIRST_STATUSES) requestDuration.zero({ ...labels, status_code });
    }
  });

  app.addHook('onRequest', (request, reply, done) => {
    const start = performance.now();
    const labels = labelsOf(request);
    const traceId = recordedTraceId();
    onEnd(reply, (statusCode) => {
      const eventId = statusCode >= 500 && request.failure?.eventId;
      requestDuration.observe({
        labels: { ...labels, status_code: statusCode },
        value: (performance.now() - start) / 1000,
        exemplarLabels: {
          ...(traceId && { trace_id: traceId }),
          ...(eventId && { event_uuid: eventId }),
        },
      });
    });
    done();
  });
}

let histogram: Histogram | undefined;

/** One for all applications of a process, such as those of tests. */
function getHistogram(): Histogram {
  const registered = register.getSingleMetric(NAME);
  if (registered && registered === histogram) return histogram;
  if (registered) {
    throw new Error(
      `prom-client's registry has a metric ${NAME} already, which the monitoring defines. Remove or rename it.`,
    );
  }
  histogram = new Histogram({
    name: NAME,
    help: 'Time from the arrival of a request to the end of its response',
    labelNames: ['method', 'endpoint', 'status_code'],
    // 0.3 is the latency objective: only the bound of a bucket can be measured exactly.
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10],
    enableExemplars: true,
  });
  return histogram;
}

export default fp(requestMetrics, { name: 'request-metrics' });
