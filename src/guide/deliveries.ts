import type { Counter, Gauge } from 'prom-client';

/** What src/monitoring/spool.ts counts. */
export interface DeliveryMetrics {
  eventsLost: Counter<'category' | 'reason'>;
  eventsWaiting: Gauge;
}

export interface Deliveries {
  /** Events that are still to be sent to the tracker. */
  waiting: number;
  /** Errors that were dropped, by reason. */
  lost: { reason: string; count: number }[];
}

/** Whether this process's events are delivered: a valid DSN may still be wrong. */
export async function readDeliveries(metrics: DeliveryMetrics): Promise<Deliveries> {
  const [waiting] = (await metrics.eventsWaiting.get()).values;
  const lost = (await metrics.eventsLost.get()).values
    .filter(({ labels, value }) => labels.category === 'error' && value > 0)
    .map(({ labels, value }) => ({ reason: String(labels.reason), count: value }));
  return { waiting: waiting?.value ?? 0, lost };
}
