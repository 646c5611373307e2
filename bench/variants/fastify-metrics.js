/** Fastify with the metrics of a package. */
import Fastify from 'fastify';
import fastifyMetrics from 'fastify-metrics';
import myView from './my-view.js';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL } });
await app.register(fastifyMetrics, { endpoint: '/metrics' });
app.register(myView);
await app.listen({ port: process.env.PORT });
