/** Fastify and the page: what the others are compared with. */
import Fastify from 'fastify';
import myView from './my-view.js';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL } });
app.register(myView);
await app.listen({ port: process.env.PORT });
