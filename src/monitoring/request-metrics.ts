import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { Histogram } from 'prom-client';
import { eventIdOf, eventUuid, hasFailed } from './errors.ts';
import { openMetricsRegistry } from './registry.ts';
import { type AnyRequest, onEnd, requestLabels, routeLabels } from './request.ts';
import { isTraced } from './scope.ts';

const requestDuration = new Histogram({
  name: 'http_request_duration_seconds',
  help: 'Time from the arrival of a request to the end of its response',
  labelNames: ['method', 'endpoint', 'status_code'],
  // 0.3 is the latency objective: only what is a bucket's bound can be measured exactly.
  buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10],
  enableExemplars: true,
  // It is the default registry all the same: prom-client wants one that says OpenMetrics for exemplars.
  registers: [openMetricsRegistry],
});

/** The series of these begin at 0, as alerts need it. 502 to 504 are of handlers that ask other services. */
const FIRST_STATUSES = [200, 500, 502, 503, 504];

/** What Node answers by itself, by the code of the error; to every other error it answers 400. */
const REFUSALS: Record<string, number> = {
  HPE_HEADER_OVERFLOW: 431,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};
/** A connection that broke, and one that the client ended in the middle of a request. */
const HANG_UPS = ['ECONNRESET', 'HPE_INVALID_EOF_STATE'];

/** Times every request. Each bucket names one request to look at, by its trace and its event. */
async function requestMetrics(app: FastifyInstance) {
  // A series that starts at 0 lets rate() see the first requests, also if they all come between two
  // scrapes, and a panel of errors show "0".
  app.addHook('onRoute', (route) => {
    for (const labels of routeLabels(route)) {
      for (const status_code of FIRST_STATUSES) requestDuration.zero({ ...labels, status_code });
    }
  });

  const markSeen = countRefused(app);
  app.addHook('onRequest', (request, reply, done) => {
    markSeen(request.raw);
    const start = performance.now();
    // Asked now, because reply.callNotFound() takes the request out of its route.
    const route = requestLabels(request);
    onEnd(reply, async (status_code) => {
      // A socket that now speaks another protocol is open for as long as its client likes.
      if (status_code === 101) return;
      const labels = { ...route, status_code };
      const value = (performance.now() - start) / 1000;
      const eventId = hasFailed(request) ? await eventIdOf(reply) : null;
      const exemplarLabels = exemplarOf(request, eventId);
      requestDuration.observe({ labels, value, ...(exemplarLabels && { exemplarLabels }) });
    });
    done();
  });
}

/**
 * Counts what Node or Fastify refuses before any hook: nothing that a client sent is in the labels.
 *
 * @returns a function to call with each request that reaches a hook: those are not counted here.
 */
function countRefused({ server }: FastifyInstance): (raw: IncomingMessage) => void {
  const count = (status_code: number) =>
    requestDuration.observe({
      labels: { method: 'other', endpoint: 'unmatched', status_code },
      value: 0,
    });
  for (const status_code of [400, 405, 417, ...Object.values(REFUSALS)]) {
    requestDuration.zero({ method: 'other', endpoint: 'unmatched', status_code });
  }
  let last: IncomingMessage;
  const unseen = new WeakSet<IncomingMessage>();
  // A request whose address cannot be decoded reaches no hook. Most others have reached the first
  // before this listener is called, and those whose route takes longer to find reach it later.
  server.on('request', (raw, response) => {
    if (raw === last) return;
    unseen.add(raw);
    response.on('close', () => {
      if (unseen.has(raw)) count(response.statusCode);
    });
  });
  // What is no HTTP, too large or too slow; and clients that hang up, which is no request.
  server.on('clientError', ({ code = '' }: NodeJS.ErrnoException) => {
    if (!HANG_UPS.includes(code)) count(REFUSALS[code] ?? 400);
  });
  // What Node refuses if nobody listens: an application that does so answers it by itself.
  server.on('checkExpectation', (_raw, response: ServerResponse) => {
    if (server.listenerCount('checkExpectation') > 1) return;
    response.writeHead(417).end();
    count(417);
  });
  server.on('connect', (raw: IncomingMessage, client: Duplex | ServerResponse) => {
    if (server.listenerCount('connect') > 1) return;
    // The socket is nobody's any more: neither its errors nor its end.
    client.on('error', () => client.destroy());
    // `Allow` belongs to a 405. It is empty: nothing is allowed where a host stands for the path.
    if ('writeHead' in client) client.writeHead(405, { allow: '' }).end();
    else {
      const status = `HTTP/${raw.httpVersion} 405 Method Not Allowed`;
      const answer = `${status}\r\nAllow: \r\nConnection: close\r\n\r\n`;
      client.end(answer, () => client.destroy());
    }
    count(405);
  });
  return (raw) => {
    last = raw;
    unseen.delete(raw);
  };
}

/** What a point on a panel leads to: the trace and the event of a request, as far as it has them. */
function exemplarOf(request: AnyRequest, eventId: string | null): Record<string, string> | null {
  const hasTrace = isTraced(request);
  if (!eventId && !hasTrace) return null;
  return {
    ...(hasTrace && { trace_id: request.id }),
    ...(eventId && { event_uuid: eventUuid(eventId) }),
  };
}

export default fp(requestMetrics, { name: 'request-metrics' });
