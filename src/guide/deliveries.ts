import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { register } from 'prom-client';

declare module 'fastify' {
  interface FastifyRequest {
    /** Asks what became of this replica's events since its start. */
    deliveries: () => Promise<Deliveries>;
  }
}

export interface Deliveries {
  /** How many the tracker has not taken yet. */
  waiting: number;
  /** How many errors were given up, for each reason for which there are some. */
  lost: { reason: string; count: number }[];
}

const valuesOf = async (name: string) =>
  (await register.getSingleMetric(name)?.get())?.values ?? [];

async function readDeliveries(): Promise<Deliveries> {
  const [waiting] = await valuesOf('sentry_events_waiting');
  const lost = (await valuesOf('sentry_events_lost_total'))
    .filter(({ labels, value }) => labels.category === 'error' && value > 0)
    .map(({ labels, value }) => ({ reason: String(labels.reason), count: value }));
  return { waiting: waiting?.value ?? 0, lost };
}

/** Tells the pages what became of the events: a DSN may be well-formed and lead nowhere. */
async function deliveries(app: FastifyInstance) {
  app.decorateRequest('deliveries', readDeliveries);
}

export default fp(deliveries, { name: 'deliveries' });
