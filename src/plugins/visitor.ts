import { randomBytes, randomUUID } from 'node:crypto';
import fastifyCookie from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Config } from '../config.ts';

const COOKIE = 'visitor';

/**
 * Knows visitors again by a random id, so that the tracker can say how many of them met an error.
 * The cookie is signed: what it holds goes to the tracker, and only this application may write it.
 */
async function visitor(app: FastifyInstance, { config }: { config: Config }) {
  await app.register(fastifyCookie, {
    secret: config.COOKIE_SECRET || randomBytes(32).toString('hex'),
    // Cookies are read where somebody asks who the visitor is: most requests do not.
    hook: false,
  });
  app.decorateRequest('visitorId', {
    getter() {
      const cookie = app.parseCookie(this.headers.cookie ?? '')[COOKIE];
      const { valid, value } = cookie ? this.unsignCookie(cookie) : { valid: false, value: null };
      return valid ? value : null;
    },
  });
}

/** Gives a new visitor an id, to be sent back with the next requests. */
export function welcome(request: FastifyRequest, reply: FastifyReply): void {
  if (request.visitorId) return;
  reply.setCookie(COOKIE, randomUUID(), {
    path: '/',
    signed: true,
    httpOnly: true,
    sameSite: 'lax',
    secure: 'auto',
    maxAge: 30 * 24 * 60 * 60,
  });
}

export default fp(visitor, { name: 'visitor' });
