/** An event's id with dashes, as a UUID is written; Sentry writes it as 32 hexadecimal digits. */
export function eventUuid(eventId: string): string {
  return eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/**
 * The address of one event in the tracker's pages.
 *
 * @param template SENTRY_EVENT_URL, where `{event_id}` or `{event_uuid}` stands for the event's id.
 * @returns an empty string if there is no template.
 */
export function eventUrl(template: string, eventId: string): string {
  return template.replace('{event_id}', eventId).replace('{event_uuid}', eventUuid(eventId));
}
