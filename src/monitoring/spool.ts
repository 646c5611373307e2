import * as Sentry from '@sentry/node';
import { Counter, Gauge } from 'prom-client';
export const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'x',
  labelNames: ['category', 'reason'],
});
export const eventsWaiting = new Gauge({ name: 'sentry_events_waiting', help: 'x' });
export const spoolTransport = (_directory: string | undefined) => Sentry.makeNodeTransport;
