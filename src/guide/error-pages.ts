import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import type { Deliveries } from './deliveries.ts';
import type { Links } from './links.ts';
import { rememberEvent } from './visitor.ts';

export interface ErrorPagesOptions {
  deliveries: () => Promise<Deliveries>;
  links: Links;
}

/**
 * Answers errors with pages, or with JSON if the client prefers it. A 500 shows the ids to report,
 * but never the error itself: its message and stack are only in the log and the tracker.
 */
async function errorPages(app: FastifyInstance, { deliveries, links }: ErrorPagesOptions) {
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const { statusCode = 500, message } = error;
    reply.code(statusCode >= 400 && statusCode <= 599 ? statusCode : 500);
    if (reply.statusCode < 500) return answer(reply, 'client-error.eta', { message });

    const eventId = request.failure?.eventId;
    request.log.error({ err: error, event_id: eventId }, 'request failed');
    if (eventId) rememberEvent(reply, eventId);
    return answer(
      reply,
      'server-error.eta',
      { eventId, traceId: request.id },
      { eventUrl: eventId && links.event(eventId), deliveries: await deliveries() },
    );
  });

  app.setNotFoundHandler(async ({ method, url }, reply) => {
    const isMetrics = /^\/metrics\/?$/.test(url);
    const message = `${method} ${url}`;
    return answer(reply.code(404), 'not-found.eta', { message }, { isMetrics });
  });
}

const MEDIA_TYPES = ['text/html', 'application/json', 'application/problem+json'];

/**
 * @param facts what the page and the JSON say
 * @param details what only the page says
 */
async function answer(reply: FastifyReply, view: string, facts: object, details: object = {}) {
  const { request, statusCode } = reply;
  const error = STATUS_CODES[statusCode];
  reply.header('vary', 'accept');
  // Clients that accept anything, or none of the three, get the page.
  const type = request.accepts().type(MEDIA_TYPES) || 'text/html';
  if (type !== 'text/html') {
    return reply.header('cache-control', 'no-store').send({ statusCode, error, ...facts });
  }
  const context = { title: `${statusCode} ${error}`, ...facts, ...details };
  return reply.view(view, context);
}

export default fp(errorPages, { name: 'error-pages' });
