import type { Client } from '@sentry/core';
import { Counter, Gauge } from 'prom-client';

type SdkReason = Parameters<Client['recordDroppedEvent']>[0];
/** As Sentry calls what is sent: error, transaction, session, monitor, log_item and more. */
export type Category = Parameters<Client['recordDroppedEvent']>[1];
/** Why something is lost: Sentry's words, and some more. */
export type Reason = SdkReason | 'http_error' | 'invalid_dsn' | 'shutdown' | 'too_old' | 'damaged';

const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'Events and traces that were given up, and will not reach the tracker',
  labelNames: ['category', 'reason'],
});
export const eventsWaiting = new Gauge({
  name: 'sentry_events_waiting',
  help: 'Events and traces that the tracker has not taken yet',
});
export const bytesWaiting = new Gauge({
  name: 'sentry_events_waiting_bytes',
  help: 'Size of the events and traces that wait',
});

// A series that starts at 0 lets rate() see the first loss.
const reasons: Reason[] = [
  'network_error',
  'http_error',
  'send_error',
  'ratelimit_backoff',
  'queue_overflow',
  'callback_error',
];
for (const reason of reasons) eventsLost.inc({ category: 'error', reason }, 0);

const expected = new Set<string>();
const losses = new Map<string, { category: Category; reason: Reason; count: number }>();

/** What the tracker does not get for this reason is no loss: it goes elsewhere, too. */
export function expectLoss(category: Category, reason: Reason): void {
  expected.add(`${category} ${reason}`);
}

/** Counts what will not reach the tracker, in the metric and for the log. */
export function countLoss(category: Category, reason: Reason, count = 1): void {
  if (expected.has(`${category} ${reason}`)) return;
  eventsLost.inc({ category, reason }, count);
  const soFar = losses.get(`${category} ${reason}`)?.count ?? 0;
  losses.set(`${category} ${reason}`, { category, reason, count: soFar + count });
}

/** What was lost since the start, for the log: no scrape sees what the end of a process loses. */
export const lossesSoFar = () => [...losses.values()];

/** The SDK's reasons that are losses. The others are what the application wants: `before_send`, say. */
const SDK_LOSSES: Reason[] = ['queue_overflow', 'buffer_overflow', 'callback_error'];

/** Counts also what the SDK loses before it comes to the transport. */
export function countLosses(client: Client): void {
  const { recordDroppedEvent } = client;
  client.recordDroppedEvent = (reason, category, count) => {
    recordDroppedEvent.call(client, reason, category, count);
    // Of a message the SDK does not say what it is.
    if (SDK_LOSSES.includes(reason))
      countLoss(category === 'unknown' ? 'error' : category, reason, count);
  };
}
