/** Bare with the metrics of src/monitoring and src/metrics.ts, without error reporting. */
import Fastify from 'fastify';
import { Registry, register } from 'prom-client';
import { activeUsers, requestCount } from '../../dist/metrics.js';
import metricsServer from '../../dist/monitoring/metrics-server.js';
import { labelsOf, onEnd } from '../../dist/monitoring/request.js';
import requestMetrics from '../../dist/monitoring/request-metrics.js';
import myView from './my-view.js';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL } });
register.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
await app.register(requestMetrics);
await app.register(metricsServer, { listen: { port: process.env.METRICS_PORT } });
app.addHook('onRequest', (request, reply, done) => {
  requestCount.inc(labelsOf(request));
  activeUsers.inc();
  onEnd(reply, () => activeUsers.dec());
  done();
});
app.register(myView);
await app.listen({ port: process.env.PORT });
