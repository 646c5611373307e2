/** An event's id with dashes, as a UUID is written; the SDK gives it as 32 hexadecimal digits. */
export function eventUuid(eventId: string): string {
  return eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

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
