import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';

export interface WorkRoute {
  Querystring: { seconds: number };
}

/** `?seconds=` is how long the work takes. */
export const workQuerystring = {
  type: 'object',
  properties: { seconds: { type: 'number', default: 0.1, minimum: 0, maximum: 10 } },
} as const;

/** The article's `# ... your code ...`: it waits, as if for a database, in a span of its own. */
// #region span
export async function yourCode({ seconds }: WorkRoute['Querystring']) {
  const work = () => sleep(seconds * 1000);
  // In a request that is not traced, a span is dropped, but costs more than everything else.
  if (!Sentry.getActiveSpan()) return work();
  return Sentry.startSpan({ name: 'your code', op: 'function' }, work);
}
// #endregion
