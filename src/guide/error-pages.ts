import { STATUS_CODES } from 'node:http';
import * as Sentry from '@sentry/node';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { eventIdOf, statusCodeOf } from '../monitoring/index.ts';
import { eventUrl } from './links.ts';
import { rememberEvent } from './visitor.ts';

/**
 * Answers errors with pages, and clients that ask for JSON with JSON. The visitor of a 500 gets the
 * ids to report, and never the error itself: its message and stack are for the log and for Sentry.
 */
async function errorPages(app: FastifyInstance, { config }: { config: Config }) {
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const statusCode = statusCodeOf(error);
    reply.code(statusCode);
    if (statusCode < 500) return answer(reply, 'client-error.eta', { message: messageOf(error) });

    const eventId = await eventIdOf(reply);
    request.log.error({ err: error }, 'request failed');
    if (eventId) rememberEvent(reply, eventId);
    return answer(
      reply,
      'server-error.eta',
      { eventId, traceId: request.id },
      { eventUrl: eventId && eventUrl(config, eventId), lastDelivery: app.deliveries.last },
    );
  });

  /** The methods of every page, by its path. */
  const methods = new Map<string, string[]>();
  app.addHook('onRoute', ({ method, url }) => {
    methods.set(pathOf(url), [...(methods.get(pathOf(url)) ?? []), method].flat());
  });
  // Before a body is read, which may be wrong in more ways than the address.
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (request.is404) refuse(request, reply, methods.get(pathOf(request.url)));
    else done();
  });
}

/** What a client error says; nothing if it refuses to. */
function messageOf(error: FastifyError): string {
  try {
    return String(error.message);
  } catch {
    return '';
  }
}

/** As the router compares paths: without the query, and without the slash at the end. */
const pathOf = (url: string) => url.split('?', 1)[0]?.replace(/(?<=.)\/$/, '') ?? '';

/** Answers a request that matches no route: its page may take other methods. */
function refuse({ method, url }: FastifyRequest, reply: FastifyReply, allowed?: string[]) {
  if (!allowed) {
    return answer(reply.code(404), 'not-found.eta', { message: `${method} ${url}` });
  }
  const allow = allowed.join(', ');
  const message = `${method} ${url}: this page takes ${allow}.`;
  return answer(reply.code(405).header('allow', allow), 'client-error.eta', { message });
}

/**
 * @param view the page that is shown
 * @param facts what a client that asks for JSON gets beside the status; the page has it, too
 * @param details what else the page needs
 */
async function answer(reply: FastifyReply, view: string, facts: object, details: object = {}) {
  const { request, statusCode } = reply;
  const error = STATUS_CODES[statusCode] ?? '';
  // Whoever takes both, or does not say, gets the page.
  if (request.accepts().type(['html', 'json']) === 'json') {
    reply.header('cache-control', 'no-store').header('vary', 'accept');
    return reply.send({ statusCode, error, ...facts });
  }
  const title = `${statusCode} ${error}`;
  try {
    const html = await reply.viewAsync(view, { title, ...facts, ...details });
    reply.header('vary', 'accept, accept-language, cookie');
    return reply.type('text/html; charset=utf-8').send(html);
  } catch (err) {
    // Fastify's own answer would quote the error.
    Sentry.captureException(err);
    reply.log.error({ err }, 'the error page failed');
    return reply.type('text/plain; charset=utf-8').send(`${title}\n`);
  }
}

export default fp(errorPages, { name: 'error-pages' });
