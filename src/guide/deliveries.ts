import * as Sentry from '@sentry/node';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { register } from 'prom-client';

declare module 'fastify' {
  interface FastifyInstance {
    deliveries: Deliveries;
  }
}

/** What became of an event: the status that the tracker answered; null if no answer came. */
export interface Delivery {
  isTaken: boolean;
  statusCode: number | null;
}

/** How many events are remembered, to be told of on the pages. */
const REMEMBERED = 1000;
/** Milliseconds in which one line is enough, however many events are lost. */
const LOG_INTERVAL = 60_000;

/**
 * Remembers what became of the last events, because an event id alone proves nothing: a DSN may be
 * well-formed and lead nowhere. Each replica knows its own events.
 */
class Deliveries {
  /** What became of the event that was answered last. */
  last: Delivery | undefined;
  #byId = new Map<string, Delivery>();

  add(eventId: string, statusCode: number | null): Delivery {
    const isTaken = statusCode !== null && statusCode < 300;
    this.last = { isTaken, statusCode };
    this.#byId.set(eventId, this.last);
    const [oldest] = this.#byId.keys();
    if (oldest && this.#byId.size > REMEMBERED) this.#byId.delete(oldest);
    return this.last;
  }

  /** Undefined while there is no answer yet, and for the events of other replicas. */
  of(eventId: string | null): Delivery | undefined {
    return eventId === null ? undefined : this.#byId.get(eventId);
  }

  /** Errors whose events were lost since the start, by the reason; those alone that there are. */
  async lost(): Promise<{ reason: string; count: number }[]> {
    const counter = await register.getSingleMetric('sentry_events_lost_total')?.get();
    return (counter?.values ?? [])
      .filter(({ labels, value }) => labels.category === 'error' && value > 0)
      .map(({ labels, value }) => ({ reason: String(labels.reason), count: value }));
  }
}

async function deliveries(app: FastifyInstance) {
  const deliveries = new Deliveries();
  app.decorate('deliveries', deliveries);

  let quietUntil = 0;
  Sentry.getClient()?.on('afterSendEvent', ({ event_id, type }, response) => {
    // Errors have no type.
    if (!event_id || type) return;
    const { isTaken, statusCode } = deliveries.add(event_id, response.statusCode ?? null);
    if (isTaken || Date.now() < quietUntil) return;
    quietUntil = Date.now() + LOG_INTERVAL;
    app.log.error(
      { event_id, status_code: statusCode },
      statusCode === null
        ? 'an event did not reach the tracker: is it running, and is the host in SENTRY_DSN right?'
        : 'the tracker did not take an event: are the key and the project in SENTRY_DSN right?',
    );
  });
}

export default fp(deliveries, { name: 'deliveries' });
