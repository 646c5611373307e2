import { STATUS_CODES } from 'node:http';
import type { FastifyError, FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { eventUrl } from '../event-url.ts';
import { traceContextOf } from '../trace-context.ts';

/**
 * Answers errors with pages. The visitor of a 500 gets the ids to report, and never the error
 * itself: its message and stack are for the log and for Sentry.
 */
async function errorPages(app: FastifyInstance, { config }: { config: Config }) {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    // Anything can be thrown, also a string or null.
    const statusCode = error?.statusCode ?? 500;
    if (statusCode < 500) {
      return reply.code(statusCode).view('client-error.eta', {
        title: `${statusCode} ${STATUS_CODES[statusCode] ?? ''}`,
        message: error.message,
      });
    }
    request.log.error({ err: error }, 'request failed');
    const { eventId } = request;
    return reply.code(statusCode).view('server-error.eta', {
      title: `${statusCode} ${STATUS_CODES[statusCode] ?? ''}`,
      eventId,
      eventUrl: eventId && eventUrl(config.SENTRY_EVENT_URL, eventId),
      traceId: traceContextOf(request.raw).traceId,
      login: config.SENTRY_LOGIN,
    });
  });

  app.setNotFoundHandler((request, reply) =>
    reply.code(404).view('client-error.eta', {
      title: '404 Not Found',
      message: `There is no page for ${request.method} ${request.url}.`,
    }),
  );
}

export default fp(errorPages, { name: 'error-pages' });
