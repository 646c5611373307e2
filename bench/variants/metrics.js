/** This project's metrics, and nothing that reports errors. */
import Fastify from 'fastify';
import { config } from '../../dist/config.js';
import { activeUsers } from '../../dist/metrics.js';
import { buildMetricsServer } from '../../dist/monitoring/metrics-server.js';
import requestMetrics from '../../dist/monitoring/request-metrics.js';
import countRequests from '../../dist/routes/count-requests.js';
import myView from './my-view.js';

const app = Fastify({ logger: { level: config.LOG_LEVEL } });
app.register(requestMetrics);
app.register(countRequests);
app.register(myView, { activeUsers });

await app.listen({ port: config.PORT });
await buildMetricsServer().listen({ port: config.METRICS_PORT });
