import type * as Sentry from '@sentry/node';
import type { TraceExportOptions } from './otlp-traces.ts';

type Client = NonNullable<ReturnType<typeof Sentry.getClient>>;

/** Of Sentry's rate limits the one on transactions: seconds, then categories, then what else. */
const LIMIT = /^\s*(\d+):(?:[^:]*;)?transaction(?:[;:]|$)/;

/**
 * Keeps transactions from a tracker that takes none: by the setting, or because the tracker says so
 * in its answers while the traces go to a collector. They are not lost then, and not to be counted so.
 */
export function withholdTransactions(client: Client, options: TraceExportOptions): void {
  const { otlpEndpoint, sendTransactions = true } = options;
  let withheldUntil = sendTransactions ? 0 : Number.POSITIVE_INFINITY;
  if (otlpEndpoint) {
    client.on('afterSendEvent', (_event, response) => {
      const limits = response?.headers?.['x-sentry-rate-limits'] ?? '';
      for (const limit of limits.split(',')) {
        const [, seconds] = LIMIT.exec(limit) ?? [];
        if (seconds) withheldUntil = Math.max(withheldUntil, Date.now() + Number(seconds) * 1000);
      }
    });
  }
  // Before the SDK makes a copy of it, as it does for beforeSendTransaction.
  client.addEventProcessor((event) =>
    event.type === 'transaction' && Date.now() < withheldUntil ? null : event,
  );
}
