/** An application that takes src/monitoring home, as docs/your-own-application.md says. */
import Fastify from 'fastify';
import { config } from '../../dist/config.js';
import monitoring, { traceIds } from '../../dist/monitoring/index.js';
import myView from './my-view.js';

const app = Fastify({ logger: { level: config.LOG_LEVEL }, ...traceIds });
await app.register(monitoring, { metrics: { port: config.METRICS_PORT } });
app.register(myView);

process.once('SIGTERM', () => app.close());
await app.listen({ port: config.PORT });
