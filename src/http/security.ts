import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Lets any Host in. Probes come with the address of one replica, which no setting can foresee. */
    anyHost?: boolean;
  }
}

/** What a browser may do with the pages: show them with their own stylesheet, and nothing else. */
export const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none';style-src 'self';img-src data:;base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
};

/** A request that is not meant for this application. */
class HostNotAllowedError extends Error {
  statusCode = 400;
  override message = 'The Host is not in ALLOWED_HOSTS.';
}

/** A request that breaks HTTP's own rule (RFC 9112, 3.2). */
class HostNotOneError extends Error {
  statusCode = 400;
  override message = 'The request is to have one Host.';
}

/** Whether the request has one Host, or none as HTTP/1.0 allows. Two of them are joined by a comma. */
function hasOneHost({ headers, httpVersion }: FastifyRequest['raw']): boolean {
  if (headers.host === undefined) return httpVersion !== '1.1';
  return !headers.host.includes(',');
}

/**
 * Security headers on every answer; pages only under the names that the application goes by, as
 * with Django's ALLOWED_HOSTS; and a limit, to be set route by route, on what costs an event.
 */
async function security(app: FastifyInstance, { allowedHosts }: { allowedHosts: string }) {
  await app.register(rateLimit, { global: false });

  const hosts = new Set(allowedHosts.toLowerCase().split(','));
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    if (!hasOneHost(request.raw)) return done(new HostNotOneError());
    const name = request.hostname.toLowerCase();
    const isAllowed =
      (name && hosts.has(name)) ||
      // Any name that can be read, or none, as from a client of HTTP/1.0.
      (hosts.has('*') && (name || request.host === '')) ||
      request.routeOptions.config.anyHost;
    done(isAllowed ? undefined : new HostNotAllowedError());
  });
}

export default fp(security, { name: 'security' });
