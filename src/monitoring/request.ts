import { constants } from 'node:http2';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RawServerBase,
  RouteGenericInterface,
} from 'fastify';

/** Of HTTP/1 or HTTP/2. */
export type AnyRequest = FastifyRequest<RouteGenericInterface, RawServerBase>;
export type AnyReply = FastifyReply<RouteGenericInterface, RawServerBase>;

/** Symbols, as in the other files of this folder: an application may have a property of any name. */
const END_LISTENERS = Symbol('end listeners');
export const HAS_ENDED = Symbol('has ended');

declare module 'fastify' {
  interface FastifyReply {
    /** Who wants to know when the response has ended; null before anybody asks. */
    [END_LISTENERS]: EndListener[] | null;
    /** Whether they have been told. */
    [HAS_ENDED]: boolean;
  }
}

type EndListener = (statusCode: number) => void;

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

const SWITCHING_PROTOCOLS = 101;
/** nginx's code for a client that hung up before its response was sent. */
const CLIENT_CLOSED_REQUEST = 499;
const REQUEST_TIMEOUT = 408;

/** The route's pattern, and never the raw path, of which there is no end. */
export const endpointOf = (request: AnyRequest) => request.routeOptions.url ?? 'unmatched';

/** A metric's labels for a request: bounded, whatever a client sends. */
export function requestLabels(request: AnyRequest) {
  return { method: methodLabel(request.method), endpoint: endpointOf(request) };
}

const methodLabel = (method: string) => (METHODS.has(method) ? method : 'other');

/** The labels that a new route's requests will have. Fastify adds a HEAD route to every GET route. */
export function routeLabels({ method, url }: { method: string | string[]; url: string }) {
  const methods = [method].flat().filter((method) => method !== 'HEAD');
  return [...new Set(methods.map(methodLabel))].map((method) => ({ method, endpoint: url }));
}

/**
 * Calls back once the response has ended, in whatever way, with the status that it ended with: 499
 * for a client that left before, 408 for one that did not send its body in time, and 101 for a
 * connection that now speaks another protocol.
 */
export function onEnd(reply: AnyReply, callback: EndListener): void {
  const listeners = reply[END_LISTENERS];
  if (listeners) listeners.push(callback);
  else {
    reply[END_LISTENERS] = [callback];
    listen(reply);
  }
}

/** What `onEnd` needs. */
export function decorateReply(app: FastifyInstance): void {
  app.decorateReply(END_LISTENERS, null);
  app.decorateReply(HAS_ENDED, false);
}

function listen(reply: AnyReply): void {
  const { raw, request } = reply;
  const end = () => {
    if (reply[HAS_ENDED]) return;
    reply[HAS_ENDED] = true;
    const statusCode = endStatusOf(reply);
    for (const callback of reply[END_LISTENERS] ?? []) callback(statusCode);
  };
  // Before the SDK's `httpIntegration`, which asks then whether an error was captured.
  raw.prependListener('close', end);
  // A pipelined request waits for its turn. If the client leaves before that, only the socket says so.
  if (raw.socket === null) {
    const { socket } = request;
    socket.setMaxListeners(0).on('close', end);
    raw.on('close', () => socket.off('close', end));
  }
}

function endStatusOf(reply: AnyReply): number {
  const { raw, request, statusCode } = reply;
  // app.inject() never says "finished". HTTP/2 says it of a response that was cancelled, too.
  if (raw.writableEnded && (raw.writableFinished || !request.socket?.destroyed)) return statusCode;
  const isHijacked = reply.sent && !raw.writableEnded;
  if (isHijacked && request.headers.upgrade) return SWITCHING_PROTOCOLS;
  if (statusCode >= 500) return statusCode;
  if (hasLeft(reply)) return CLIENT_CLOSED_REQUEST;
  return request.raw.complete === false ? REQUEST_TIMEOUT : 500;
}

/** Whether it was the client that hung up, and not this server. */
export function hasLeft({ raw, request }: AnyReply): boolean {
  const { socket, raw: incoming } = request;
  if ('stream' in incoming) {
    // A request that was cancelled before all of its body came is not always called aborted.
    return incoming.aborted || incoming.stream.rstCode === constants.NGHTTP2_CANCEL;
  }
  // The socket of app.inject() is neither ended nor failed: nobody can leave it. If the application
  // destroys its response with an error, the socket is destroyed with the same one.
  return Boolean(socket.readableEnded || (socket.errored && socket.errored !== raw.errored));
}

/** The status that an error asks for, or 500. Anything can be thrown; only 400 to 599 are of errors. */
export function statusCodeOf(error: unknown): number {
  try {
    const { statusCode, status } = Object(error) as { statusCode?: unknown; status?: unknown };
    const asked = Number(statusCode ?? status);
    return asked >= 400 && asked <= 599 ? asked : 500;
  } catch {
    return 500;
  }
}
