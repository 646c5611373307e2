/** A request's address. A client writes it in one of several forms, and with anything in it. */

/** What these functions ask of a request. */
export interface Addressed {
  /** "http" or "https", or anything that a client says it is to a server that trusts its proxy. */
  protocol: string;
  /** The header Host, or what a trusted proxy says of it; '' if there is none. */
  host: string;
  /** The target in the request line: "/path?query", or a whole address, or "*". */
  url: string;
}

/** What a client sends to a proxy: a whole address, which may name a user and a password. */
const WHOLE_ADDRESS = /^[a-z][a-z\d+.-]*:\/\/([^/?#]*)/i;
const USER_AND_PASSWORD = /^.*@/;
const HOST = /^(\[[\da-f:.]+\]|[\w-]+(?:\.[\w-]+)*\.?)(?::(\d{1,5}))?$/i;

/**
 * The host that a request is for, exactly `name` or `name:port`; undefined if it names none or
 * something else. In a whole address the host there counts, and not the header (RFC 9112, 3.2.2).
 */
export function hostOf({ host, url }: Addressed): { host: string; name: string } | undefined {
  const authority = WHOLE_ADDRESS.exec(url)?.[1]?.replace(USER_AND_PASSWORD, '') ?? host;
  const [, name, port = '0'] = HOST.exec(authority) ?? [];
  return name && Number(port) <= 65_535 ? { host: authority, name: name.toLowerCase() } : undefined;
}

/** The path alone: neither a host nor a query, in which there can be secrets. */
export function pathOf({ url }: Pick<Addressed, 'url'>): string {
  return targetOf(url).split('?', 1)[0] as string;
}

/** The address to report: its path and query alone if the request names no host, or an odd scheme. */
export function addressOf(request: Addressed): string {
  const host = hostOf(request)?.host;
  const target = targetOf(request.url);
  // "OPTIONS *" is about the server, and not about a path.
  const path = target === '*' ? '/' : target;
  return host && /^https?$/.test(request.protocol) ? `${request.protocol}://${host}${path}` : path;
}

function targetOf(url: string): string {
  const target = url.replace(WHOLE_ADDRESS, '').split('#', 1)[0] as string;
  return target.startsWith('/') || target === '*' ? target : `/${target}`;
}
