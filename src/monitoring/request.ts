import type { FastifyReply, FastifyRequest } from 'fastify';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

const SWITCHING_PROTOCOLS = 101;
/** nginx's code for a client that hung up before its response was sent. */
const CLIENT_CLOSED_REQUEST = 499;

/** The route's pattern, and never the raw path, of which there is no end. */
export const endpointOf = (request: FastifyRequest) => request.routeOptions.url ?? 'unmatched';

/** A metric's labels for a request: bounded, whatever a client sends. */
export function requestLabels(request: FastifyRequest) {
  return { method: methodLabel(request.method), endpoint: endpointOf(request) };
}

const methodLabel = (method: string) => (METHODS.has(method) ? method : 'other');

/** The labels that a new route's requests will have. Fastify adds a HEAD route to every GET route. */
export function routeLabels({ method, url }: { method: string | string[]; url: string }) {
  const methods = [method].flat().filter((method) => method !== 'HEAD');
  return [...new Set(methods.map(methodLabel))].map((method) => ({ method, endpoint: url }));
}

/** Calls back once the response has ended, in whatever way, with the status that it ended with. */
export function onEnd(reply: FastifyReply, callback: (statusCode: number) => void): void {
  const { raw, request } = reply;
  const { socket } = request;
  const isWaiting = raw.socket === null;
  let isOver = false;
  const end = () => {
    if (isOver) return;
    isOver = true;
    if (isWaiting) socket.off('close', end);
    callback(endStatusOf(reply));
  };
  raw.on('close', end);
  // A pipelined request waits for its turn. If the client leaves before that, only the socket says so.
  if (isWaiting) socket.setMaxListeners(0).on('close', end);
}

function endStatusOf(reply: FastifyReply): number {
  const { raw, request, statusCode } = reply;
  const { socket } = request;
  // HTTP/2 says "finished" also of a response that was cancelled, and app.inject() never says it.
  if (raw.writableEnded && (raw.writableFinished || !socket.destroyed)) return statusCode;
  if (reply.sent && request.headers.upgrade) return SWITCHING_PROTOCOLS;
  if (statusCode >= 500) return statusCode;
  return hasLeft(request) ? CLIENT_CLOSED_REQUEST : 500;
}

/** Whether it was the client that hung up, and not this server. */
export function hasLeft({ raw, socket }: FastifyRequest): boolean {
  if (raw.httpVersionMajor === 2) return raw.aborted;
  return socket.readableEnded || socket.errored !== null;
}

/** The status that an error asks for. Anything can be thrown; only 400 to 599 say an error. */
export function statusCodeOf(error: { statusCode?: number; status?: number } | null): number {
  try {
    const statusCode = Number(error?.statusCode ?? error?.status);
    return statusCode >= 400 && statusCode <= 599 ? statusCode : 500;
  } catch {
    return 500;
  }
}
