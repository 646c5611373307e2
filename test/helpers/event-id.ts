/** The id of the event that an error page names; undefined if there is none. */
export function eventIdOn(html: string): string | undefined {
  return /id="event-id">([0-9a-f-]{36})</.exec(html)?.[1];
}
