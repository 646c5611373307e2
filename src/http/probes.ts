import type { FastifyInstance } from 'fastify';

/** For the container engine and load balancers; too frequent to be logged or traced. */
export default async function probes(app: FastifyInstance) {
  const options = { logLevel: 'warn', config: { traced: false } } as const;

  app.get('/healthz', options, async () => ({ status: 'ok' }));

  app.get('/readyz', options, async (_request, reply) => {
    if (!app.isShuttingDown) return { status: 'ready' };
    return reply.code(503).send({ status: 'shutting down' });
  });
}
