import * as http from 'node:http';
import * as https from 'node:https';
import * as Sentry from '@sentry/node';

type NodeTransportOptions = Parameters<typeof Sentry.makeNodeTransport>[0];
type HttpModule = NonNullable<NodeTransportOptions['httpModule']>;
type Transport = ReturnType<typeof Sentry.makeNodeTransport>;
type Envelope = Parameters<Transport['send']>[0];

/** Milliseconds without an answer after which a tracker counts as not reached. */
const ANSWER_TIMEOUT = 10_000;

/**
 * How many events may wait to be sent, at some tens of kilobytes each. The SDK's own 64 lose events
 * when a few hundred requests fail at once.
 */
export const transportOptions = { bufferSize: 2000 };

/** Why an event can be lost on its way. For errors each is counted from 0: rates see the first loss. */
export const LOSS_REASONS = [
  'network_error',
  'http_error',
  'ratelimit_backoff',
  'queue_overflow',
  'send_error',
];

/** Why an event is left out on purpose, by what the application asks of the SDK. */
const NOT_LOST = new Set(['sample_rate', 'before_send', 'event_processor']);

type Category = 'error' | 'transaction';

/** What did not reach the tracker since the start, by its kind and the reason. */
export const lostEvents = new Map<string, { category: Category; reason: string; count: number }>();

/** What was handed to the transport and has no answer yet. */
const waiting: Record<Category, number> = { error: 0, transaction: 0 };

function lose(category: Category, reason: string, count: number): void {
  const key = `${category} ${reason}`;
  const lost = lostEvents.get(key) ?? { category, reason, count: 0 };
  lost.count += count;
  lostEvents.set(key, lost);
}

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
  const transport = Sentry.makeNodeTransport({ ...options, httpModule });

  return {
    ...transport,
    async send(envelope) {
      countReported(envelope);
      const categories = categoriesOf(envelope);
      for (const category of categories) waiting[category] += 1;
      try {
        const response = await transport.send(envelope);
        const { statusCode = 200 } = response;
        // A redirect is not followed. The SDK reports the 413 itself.
        if (statusCode >= 300 && statusCode !== 413) {
          for (const category of categories) lose(category, 'http_error', 1);
        }
        return response;
      } finally {
        for (const category of categories) waiting[category] -= 1;
      }
    },
  };
}

/** Counts what still waits as lost: to be called when nobody will wait for it any longer. */
export function giveUpWaiting(): void {
  for (const category of ['error', 'transaction'] as const) {
    if (waiting[category] > 0) lose(category, 'shutdown', waiting[category]);
  }
}

function categoriesOf([, items]: Envelope): Category[] {
  return [...items].flatMap(([{ type }]) => {
    if (type === 'event') return ['error'];
    return type === 'transaction' ? ['transaction'] : [];
  });
}

/** The SDK's own account of what it dropped: https://develop.sentry.dev/sdk/telemetry/client-reports/ */
function countReported([, items]: Envelope): void {
  for (const [{ type }, payload] of items) {
    if (type !== 'client_report') continue;
    const { discarded_events } = payload as {
      discarded_events: { reason: string; category: string; quantity: number }[];
    };
    for (const { reason, category, quantity } of discarded_events) {
      if (NOT_LOST.has(reason)) continue;
      // Others repeat: the spans of a trace, or the report that a rate limit held back.
      if (category === 'error' || category === 'transaction') lose(category, reason, quantity);
    }
  }
}
