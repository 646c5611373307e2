import * as http from 'node:http';
import * as https from 'node:https';
import * as Sentry from '@sentry/node';
import { Counter } from 'prom-client';

type NodeTransportOptions = Parameters<typeof Sentry.makeNodeTransport>[0];
type HttpModule = NonNullable<NodeTransportOptions['httpModule']>;
type Transport = ReturnType<typeof Sentry.makeNodeTransport>;
type Envelope = Parameters<Transport['send']>[0];
type Category = 'error' | 'transaction';

/** Milliseconds without an answer after which a tracker counts as not reached. */
const ANSWER_TIMEOUT = 10_000;
const REASONS = [
  'network_error',
  'http_error',
  'ratelimit_backoff',
  'queue_overflow',
  'send_error',
];

const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'Events and traces that did not reach the tracker',
  labelNames: ['category', 'reason'],
});
// A series that starts at 0 lets rate() see the first loss.
for (const reason of REASONS) eventsLost.inc({ category: 'error', reason }, 0);

/** Events that were handed to the transport and are not answered yet. */
const waiting: Record<Category, number> = { error: 0, transaction: 0 };

/**
 * The SDK's transport, which accounts for every event: one that is not delivered is counted with
 * the reason. It gives up on a tracker that takes a request and never answers; the SDK's waits for
 * ever, until all of its sockets do.
 */
export function makeAccountingTransport(options: NodeTransportOptions): Transport {
  const nativeModule = (options.url.startsWith('https:') ? https : http) as HttpModule;
  const httpModule: HttpModule = {
    // As an option, because setTimeout() would leave the SDK's 2 seconds in force while it connects.
    request(options, callback) {
      const request = nativeModule.request(
        { ...(options as http.RequestOptions), timeout: ANSWER_TIMEOUT },
        callback,
      );
      return request.on('timeout', () => {
        request.destroy(new Error(`no answer in ${ANSWER_TIMEOUT} ms`));
      });
    },
  };
  const transport = Sentry.makeNodeTransport({
    ...options,
    httpModule,
    recordDroppedEvent(reason, category, count = 1) {
      options.recordDroppedEvent(reason, category, count);
      if (category === 'error' || category === 'transaction') {
        eventsLost.inc({ category, reason }, count);
      }
    },
  });

  return {
    ...transport,
    async send(envelope) {
      const categories = categoriesOf(envelope);
      for (const category of categories) waiting[category] += 1;
      try {
        const response = await transport.send(envelope);
        const { statusCode = 200 } = response;
        // A redirect is not followed. The SDK records the 413 itself.
        if (statusCode >= 300 && statusCode !== 413) {
          for (const category of categories) eventsLost.inc({ category, reason: 'http_error' });
        }
        return response;
      } finally {
        for (const category of categories) waiting[category] -= 1;
      }
    },
  };
}

function categoriesOf([, items]: Envelope): Category[] {
  return [...items].flatMap(([{ type }]) => {
    if (type === 'event') return ['error'];
    return type === 'transaction' ? ['transaction'] : [];
  });
}

/**
 * Sends what still waits, for at most so many milliseconds, and tells what was lost since the start:
 * to be called when the process ends, and no scrape will see it any more.
 */
export async function sendLastEvents(timeout: number) {
  await Sentry.flush(timeout);
  for (const category of ['error', 'transaction'] as const) {
    if (waiting[category]) eventsLost.inc({ category, reason: 'shutdown' }, waiting[category]);
  }
  const { values } = await eventsLost.get();
  return values
    .filter(({ value }) => value > 0)
    .map(({ labels, value }) => ({ ...labels, count: value }));
}
