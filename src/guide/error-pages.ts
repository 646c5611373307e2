import { STATUS_CODES } from 'node:http';
import * as Sentry from '@sentry/node';
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { eventIdOf, statusCodeOf } from '../monitoring/index.ts';
import { eventUrl } from './links.ts';
import { rememberEvent } from './visitor.ts';

/**
 * Answers errors with pages. The visitor of a 500 gets the ids to report, and never the error
 * itself: its message and stack are for the log and for Sentry.
 */
async function errorPages(app: FastifyInstance, { config }: { config: Config }) {
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const statusCode = statusCodeOf(error);
    const title = `${statusCode} ${STATUS_CODES[statusCode] ?? ''}`;
    reply.code(statusCode);
    if (statusCode < 500) {
      return sendPage(reply, 'client-error.eta', { title, message: error.message });
    }
    const eventId = await eventIdOf(reply);
    request.log.error({ err: error }, 'request failed');
    if (eventId) rememberEvent(reply, eventId);
    return sendPage(reply, 'server-error.eta', {
      title,
      eventId,
      eventUrl: eventId && eventUrl(config, eventId),
      traceId: request.id,
    });
  });

  app.setNotFoundHandler((request, reply) =>
    sendPage(reply.code(404), 'not-found.eta', {
      title: '404 Not Found',
      address: `${request.method} ${request.url}`,
    }),
  );
}

/** Falls back to the title: if the page itself fails, Fastify's own answer would quote the error. */
async function sendPage(
  reply: FastifyReply,
  view: string,
  data: { title: string; [value: string]: unknown },
) {
  try {
    const html = await reply.viewAsync(view, data);
    return reply.type('text/html; charset=utf-8').send(html);
  } catch (err) {
    Sentry.captureException(err);
    reply.log.error({ err }, 'the error page failed');
    return reply.type('text/plain; charset=utf-8').send(`${data.title}\n`);
  }
}

export default fp(errorPages, { name: 'error-pages' });
