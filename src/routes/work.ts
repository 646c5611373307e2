import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';
import type { FastifyRequest } from 'fastify';

export interface WorkQuery {
  seconds: number;
}

/** `?seconds=` is how long the work takes. Bounded: a visitor must not hold a request for ever. */
export const workQuerystring = {
  type: 'object',
  properties: { seconds: { type: 'number', minimum: 0, maximum: 10, default: 0.1 } },
} as const;

/**
 * The article's `# ... your code ...`: work that waits, as for a database. It leaves a breadcrumb,
 * to be read on the event if the request fails later, and has a span of its own if it is traced.
 */
export async function yourCode(request: FastifyRequest<{ Querystring: WorkQuery }>) {
  const { seconds } = request.query;
  // #region breadcrumb
  Sentry.addBreadcrumb({ category: 'work', message: `Working for ${seconds} s` });
  // #endregion
  // #region span
  const work = () => sleep(seconds * 1000);
  await Sentry.startSpan({ name: 'your code', op: 'function' }, work);
  // #endregion
}
