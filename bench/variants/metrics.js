/** This project's metrics, and nothing that reports errors. */
import { fileURLToPath } from 'node:url';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import Fastify from 'fastify';
import { readConfig } from '../../dist/config.js';
import { createMetrics } from '../../dist/metrics.js';
import { buildMetricsServer } from '../../dist/metrics-server.js';
import requestMetrics from '../../dist/plugins/request-metrics.js';
import myView from '../../dist/routes/my-view.js';
import triggerError from '../../dist/routes/trigger-error.js';

const config = readConfig(process.env);
const metrics = createMetrics();

const app = Fastify({ logger: { level: config.LOG_LEVEL } });
app.register(requestMetrics, { metrics });
app.register(fastifyView, {
  engine: { eta: new Eta() },
  root: fileURLToPath(new URL('../../views', import.meta.url)),
});
app.register(triggerError);
app.register(myView, { config, metrics });

await app.listen({ port: config.PORT });
await buildMetricsServer(metrics).listen({ port: config.METRICS_PORT });
