import type { FastifyInstance } from 'fastify';

/** The probes of the container engine and of load balancers; too frequent to be worth a log line. */
export default async function health(app: FastifyInstance) {
  const options = { logLevel: 'warn', config: { anyHost: true, traced: false } } as const;

  /** The process runs and its event loop turns. */
  app.get('/healthz', options, async () => ({ status: 'ok' }));

  /** It wants traffic, until it begins to shut down. */
  app.get('/readyz', options, async (_request, reply) => {
    if (!app.draining) return { status: 'ready' };
    return reply.code(503).send({ status: 'stopping' });
  });
}
