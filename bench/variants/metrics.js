/** This project's metrics, and nothing that reports errors. */
import Fastify from 'fastify';
import { readConfig } from '../../dist/config.js';
import { createMetrics } from '../../dist/metrics.js';
import { buildMetricsServer } from '../../dist/metrics-server.js';
import requestMetrics from '../../dist/plugins/request-metrics.js';
import myView from './my-view.js';

const config = readConfig(process.env);
const metrics = createMetrics(config);

const app = Fastify({ logger: { level: config.LOG_LEVEL } });
app.register(requestMetrics, { metrics });
app.register(myView, { metrics });

await app.listen({ port: config.PORT });
await buildMetricsServer(metrics).listen({ port: config.METRICS_PORT });
