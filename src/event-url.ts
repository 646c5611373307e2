/**
 * The address of one event in the tracker's pages.
 *
 * @param template SENTRY_EVENT_URL: `{event_id}` stands for the id as Sentry writes it, 32
 *   hexadecimal digits; `{event_uuid}` for the same with dashes, as Bugsink's addresses have it.
 * @param eventId 32 hexadecimal digits.
 * @returns an empty string if there is no template.
 */
export function eventUrl(template: string, eventId: string): string {
  const uuid = eventId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return template.replace('{event_id}', eventId).replace('{event_uuid}', uuid);
}
