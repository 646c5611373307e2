import type { Writable } from 'node:stream';
import type { FastifyRequest, RouteOptions } from 'fastify';

/** What requests and replies over HTTP/1 and HTTP/2 have in common. */
type AnyRequest = Pick<FastifyRequest, 'method' | 'routeOptions'>;
interface AnyReply {
  statusCode: number;
  /** An HTTP/2 response has a stream, which knows whether it is closed. */
  raw: Writable & { stream?: Writable };
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** nginx's status for a client that closed the connection before its response was sent. */
const CLIENT_CLOSED_REQUEST = 499;

/** The route's pattern, never the raw path, which has unlimited values. */
export const routeOf = (request: AnyRequest) => request.routeOptions.url ?? 'unmatched';

/** Labels of a metric for a request: bounded, whatever a client sends. */
export const labelsOf = (request: AnyRequest) => ({
  method: methodLabel(request.method),
  endpoint: routeOf(request),
});

/** The labels that a route's requests will have, for series that start at 0. */
export const routeLabels = ({ method, url }: Pick<RouteOptions, 'method' | 'url'>) =>
  [method]
    .flat()
    // Fastify adds a HEAD route to every GET route.
    .filter((method) => method !== 'HEAD')
    .map((method) => ({ method: methodLabel(method), endpoint: url }));

const methodLabel = (method: string) => (METHODS.has(method) ? method : 'other');

/**
 * Calls back once when the response has ended, however it ended: with its status, with 499 if the
 * client closed the connection first, or with 500 if the server destroyed the response.
 */
export function onEnd(reply: AnyReply, callback: (statusCode: number) => void): void {
  const { raw } = reply;
  const end = () => {
    const { statusCode } = reply;
    // On HTTP/2, writableFinished is also true for a canceled response; writableEnded isn't.
    const isSent = raw.writableEnded && raw.writableFinished;
    if (isSent || statusCode >= 500) callback(statusCode);
    // Destroyed by this side, such as a stream that exceeds its handlerTimeout.
    else callback(raw.errored ? 500 : CLIENT_CLOSED_REQUEST);
  };
  // The client may have left already.
  if ((raw.stream ?? raw).destroyed) queueMicrotask(end);
  else raw.once('close', end);
}
