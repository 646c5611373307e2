/**
 * Your own application with a copy of src/monitoring, as docs/your-own-application.md describes.
 */
import Fastify from 'fastify';
import monitoring, { traceIds } from '../../dist/monitoring/index.js';
import myView from './my-view.js';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL }, ...traceIds });
await app.register(monitoring, { metrics: { port: process.env.METRICS_PORT } });
app.register(myView);
await app.listen({ port: process.env.PORT });
