import { eventUuid } from './plugins/sentry.ts';

/**
 * The address of one event in the tracker's pages. Sentry takes its id with and without dashes,
 * Bugsink only with them.
 *
 * @param prefix SENTRY_EVENT_URL; without it there is no page to link to.
 * @returns an empty string if there is no tracker.
 */
export function eventUrl(prefix: string, eventId: string): string {
  return prefix && prefix + eventUuid(eventId);
}
