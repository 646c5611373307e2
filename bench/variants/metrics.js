/** Bare with this project's metrics, and nothing that reports errors. */
import Fastify from 'fastify';
import { register } from 'prom-client';
import { activeUsers, requestCount } from '../../dist/metrics.js';
import requestMetrics from '../../dist/monitoring/request-metrics.js';
import myView from './my-view.js';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL } });
app.register(requestMetrics);
app.addHook('onRequest', (request, reply, done) => {
  requestCount.inc({ method: request.method, endpoint: request.routeOptions.url });
  activeUsers.inc();
  reply.raw.once('close', () => activeUsers.dec());
  done();
});
app.register(myView);
await app.listen({ port: process.env.PORT });

const metrics = Fastify();
metrics.get('/metrics', () => register.metrics());
await metrics.listen({ port: process.env.METRICS_PORT });
