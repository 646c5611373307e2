import type { FastifyInstance } from 'fastify';

/** The routes that only machines ask for. */
export const PROBES = new Set(['/healthz', '/readyz']);

/** The probes of the container engine and of load balancers; too frequent to be worth a log line. */
export default async function health(app: FastifyInstance) {
  const options = { logLevel: 'warn' } as const;

  /** The process runs and its event loop turns. */
  app.get('/healthz', options, async () => ({ status: 'ok' }));

  /** It wants traffic. While it shuts down Fastify answers every new request with 503 instead. */
  app.get('/readyz', options, async () => ({ status: 'ready' }));
}
