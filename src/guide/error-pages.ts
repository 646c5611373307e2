import { STATUS_CODES } from 'node:http';
import * as Sentry from '@sentry/node';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';
import { eventUrl } from './links.ts';
import { rememberEvent } from './visitor.ts';

/**
 * Answers errors with pages, and clients that ask for JSON with JSON. The visitor of a 500 gets the
 * ids to report, and never the error itself: its message and stack are for the log and for Sentry.
 */
async function errorPages(app: FastifyInstance, { config }: { config: Config }) {
  /** The methods of every page, by its path. */
  const methods = new Map<string, string[]>();
  app.addHook('onRoute', ({ method, url }) => {
    const path = withoutSlash(url);
    methods.set(path, [...(methods.get(path) ?? []), method].flat());
  });
  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    const statusCode = statusCodeOf(error);
    reply.code(statusCode);
    // What is wrong with a body does not matter where nobody reads it.
    if (request.is404 && UNREADABLE_BODY.test(error.code)) {
      return refuse(request, reply, methods.get(routePathOf(request)));
    }
    if (statusCode < 500) {
      const parameter = refusedParameter(error, request);
      const message = parameter
        ? `${parameter.name} takes a number from ${parameter.minimum} to ${parameter.maximum}.`
        : messageOf(error);
      return answer(reply, 'client-error.eta', { message }, { parameter });
    }

    const eventId = request.failure?.eventId;
    request.log.error({ err: error, event_id: eventId }, 'request failed');
    if (eventId) rememberEvent(reply, eventId);
    return answer(
      reply,
      'server-error.eta',
      { eventId, traceId: request.id },
      {
        sentryIsOn: Sentry.isEnabled(),
        eventUrl: eventId && eventUrl(config, eventId),
        deliveries: await request.deliveries(),
      },
    );
  });

  app.setNotFoundHandler((request, reply) =>
    refuse(request, reply, methods.get(routePathOf(request))),
  );
}

interface NumberSchema {
  minimum?: number;
  maximum?: number;
  allOf?: NumberSchema[];
}

/** The parameter of the address that was refused and its bounds, if it is a number that has them. */
function refusedParameter(
  { validation, validationContext }: FastifyError,
  request: FastifyRequest,
) {
  if (!validation || validationContext !== 'querystring') return null;
  const name = validation[0]?.instancePath.slice(1) ?? '';
  const { properties } = (request.routeOptions.schema?.querystring ?? {}) as {
    properties?: Record<string, NumberSchema>;
  };
  const schema = properties?.[name];
  const bounded = [schema, ...(schema?.allOf ?? [])].find((part) => part?.maximum !== undefined);
  return bounded ? { name, minimum: bounded.minimum, maximum: bounded.maximum } : null;
}

/** The status that an error asks for, or 500: only 400 to 599 are of errors. */
function statusCodeOf({ statusCode }: FastifyError): number {
  return statusCode && statusCode >= 400 && statusCode <= 599 ? statusCode : 500;
}

/** What a client error says; nothing if it refuses to. */
function messageOf(error: FastifyError): string {
  try {
    return String(error.message);
  } catch {
    return '';
  }
}

const UNREADABLE_BODY = /^FST_ERR_(CTP_|ROUTE_MISSING_CONTENT_TYPE)/;

const withoutSlash = (path: string) => path.replace(/(?<=.)\/$/, '');

/** A request's path as the router compares it: decoded, and without the slash at the end. */
function routePathOf(request: FastifyRequest): string {
  const path = withoutSlash(request.url.split('?')[0] ?? '');
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

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
