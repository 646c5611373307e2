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
  /** How many errors were given up, by the reason; those reasons alone that there are. */
  lost: { reason: string; count: number }[];
}

/** Milliseconds between two looks at what became of the events. */
const LOOK_EVERY = 5_000;

const valuesOf = async (name: string) =>
  (await register.getSingleMetric(name)?.get())?.values ?? [];

async function readDeliveries(): Promise<Deliveries> {
  const [waiting] = await valuesOf('sentry_events_waiting');
  const lost = (await valuesOf('sentry_events_lost_total'))
    .filter(({ labels, value }) => labels.category === 'error' && value > 0)
    .map(({ labels, value }) => ({ reason: String(labels.reason), count: value }));
  return { waiting: waiting?.value ?? 0, lost };
}

/**
 * Tells the pages and the log what became of the events, because an event's id proves nothing: a DSN
 * may be well-formed and lead nowhere.
 */
async function deliveries(app: FastifyInstance) {
  app.decorateRequest('deliveries', readDeliveries);

  let before: Deliveries = { waiting: 0, lost: [] };
  let saidToWait = false;
  const look = async () => {
    const { waiting, lost } = await readDeliveries();
    if (JSON.stringify(lost) !== JSON.stringify(before.lost)) {
      app.log.error({ lost }, 'the tracker did not take events: is SENTRY_DSN right?');
    }
    // With a tracker that answers, others would be waiting by now, and fewer.
    const isStuck = before.waiting > 0 && waiting >= before.waiting;
    if (isStuck && !saidToWait) {
      app.log.warn(
        { waiting },
        'events wait for the tracker: does it run, and is the host in SENTRY_DSN right?',
      );
    }
    saidToWait = (saidToWait || isStuck) && waiting > 0;
    before = { waiting, lost };
  };
  const looks = setInterval(look, LOOK_EVERY).unref();
  app.addHook('onClose', async () => clearInterval(looks));
}

export default fp(deliveries, { name: 'deliveries' });
