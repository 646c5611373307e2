import { randomBytes, randomUUID } from 'node:crypto';
import fastifyCookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyRequest {
    /** The random id of the visitor, which does not say who that is; null for a new visitor. */
    visitorId: string | null;
    /** The id of the last event that this visitor met; null if there is none. */
    lastEventId: string | null;
  }
}

/**
 * Knows visitors again by a random id, so that the tracker can say how many of them met an error.
 * The cookies are signed: what they hold goes to the tracker and into links, and only this
 * application may write it.
 */
async function visitor(app: FastifyInstance, { secret }: { secret: string }) {
  await app.register(fastifyCookie, {
    secret: secret || randomBytes(32).toString('hex'),
    // Cookies are read where somebody asks who the visitor is: most requests do not.
    hook: false,
  });
  for (const [property, cookie] of Object.entries({ visitorId: 'visitor', lastEventId: 'event' })) {
    app.decorateRequest(property, {
      getter(this: FastifyRequest) {
        return readSignedCookie(this, cookie);
      },
    });
  }
}

/** Cookies know no ports: without one in the name, two stacks on one host replace each other's. */
function cookieName({ port }: FastifyRequest, name: string): string {
  return port === null ? name : `${name}-${port}`;
}

/** A cookie as it was sent: what it holds is to be checked. */
export function readCookie(request: FastifyRequest, name: string): string {
  const { cookie } = request.headers;
  return (cookie && request.server.parseCookie(cookie)[cookieName(request, name)]) || '';
}

/**
 * What this application wrote into a cookie of this name; null if it did not. The name is signed with
 * the value, or a value would count in every cookie: an event's id as a visitor's.
 */
function readSignedCookie(request: FastifyRequest, name: string): string | null {
  const cookie = readCookie(request, name);
  if (!cookie) return null;
  const { valid, value } = request.unsignCookie(`${name}=${cookie}`);
  return valid ? value.slice(`${name}=`.length) : null;
}

function setSignedCookie(reply: FastifyReply, name: string, value: string): void {
  setCookie(reply, name, reply.signCookie(`${name}=${value}`).slice(`${name}=`.length));
}

/** Sets a cookie that comes back with the visitor's next requests, and is out of reach for scripts. */
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
  if (!request.visitorId) setSignedCookie(reply, 'visitor', randomUUID());
}

/** Remembers the event that a visitor's error was reported as, for the guide to link to. */
export function rememberEvent(reply: FastifyReply, eventId: string): void {
  setSignedCookie(reply, 'event', eventId);
}

export default fp(visitor, { name: 'visitor' });
