import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';

export interface WorkRoute {
  Querystring: { seconds: number };
}

/** `?seconds=` is how long the work takes. Bounded: a visitor must not hold a request for ever. */
export const workQuerystring = {
  type: 'object',
  properties: {
    seconds: {
      default: 0.1,
      allOf: [
        // Digits, before they are made a number: " ", "0x1" and "1e0" would be numbers, too.
        { type: 'string', pattern: '^-?\\d*\\.?\\d+$' },
        { type: 'number', minimum: 0, maximum: 10 },
      ],
    },
  },
} as const;

/** The article's `# ... your code ...`: work that waits, as for a database, with a span of its own. */
export async function yourCode({ seconds }: WorkRoute['Querystring']) {
  // #region span
  await Sentry.startSpan({ name: 'your code', op: 'function' }, () => sleep(seconds * 1000));
  // #endregion
}
