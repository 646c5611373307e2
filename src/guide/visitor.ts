import { randomUUID } from 'node:crypto';
import fastifyCookie from '@fastify/cookie';
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** The id of this visitor's last event. */
    lastEventId: string | undefined;
  }
}

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

/** The UUID in a cookie. Anyone can forge a cookie: anything else is ignored. */
function readId(request: FastifyRequest, name: string): string | undefined {
  const value = readCookie(request, name);
  return UUID.test(value) ? value : undefined;
}

/** Cookies ignore ports: without one in its name, two applications on one host share a cookie. */
const cookieName = ({ port }: FastifyRequest, name: string) => `${name}-${port ?? 'default'}`;

export const readCookie = (request: FastifyRequest, name: string) =>
  request.cookies[cookieName(request, name)] ?? '';

export function setCookie(reply: FastifyReply, name: string, value: string): void {
  reply.setCookie(cookieName(reply.request, name), value, {
    path: '/',
    httpOnly: true,
    sameSite: 'lax',
    secure: 'auto',
    maxAge: 30 * 24 * 60 * 60,
  });
}

/** Gives a new visitor an id. */
export function welcome(request: FastifyRequest, reply: FastifyReply): void {
  if (!readId(request, 'visitor')) setCookie(reply, 'visitor', randomUUID());
}

/** Remembers the event that a visitor's error was reported as, for the guide to link to. */
export function rememberEvent(reply: FastifyReply, eventId: string): void {
  setCookie(reply, 'event', eventId);
}

/**
 * Recognizes visitors by a random id, so that the tracker can count how many of them an error
 * affected.
 */
async function visitor(app: FastifyInstance) {
  await app.register(fastifyCookie);

  app.decorateRequest('lastEventId', {
    getter(this: FastifyRequest) {
      return readId(this, 'event');
    },
  });
  // Async, so that the stack trace of a route's error does not contain the hooks.
  // #region context
  app.addHook('onRequest', async (request) => {
    const visitorId = readId(request, 'visitor');
    if (visitorId) Sentry.setUser({ id: visitorId });
  });
  // #endregion
}

export default fp(visitor, { name: 'visitor' });
