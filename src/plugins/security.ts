import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import helmet from 'helmet';
import type { Config } from '../config.ts';
import { PROBES } from '../routes/health.ts';

/** What a browser may do with the pages: show them with their own stylesheet, and nothing else. */
const setHeaders = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      imgSrc: ['data:'],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  // For browsers and plugins that are gone, or said by the policy above.
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

export function setSecurityHeaders(request: FastifyRequest, reply: FastifyReply): void {
  setHeaders(request.raw, reply.raw, () => {});
}

/** A request that is not meant for this application. */
class HostNotAllowedError extends Error {
  statusCode = 400;
}

/**
 * Security headers on every answer; pages only under the names that the application goes by, as
 * with Django's ALLOWED_HOSTS; and a limit, to be set route by route, on what costs an event.
 */
async function security(app: FastifyInstance, { config }: { config: Config }) {
  await app.register(rateLimit, { global: false });

  const allowedHosts = new Set(config.ALLOWED_HOSTS.split(','));
  app.addHook('onRequest', (request, reply, done) => {
    setSecurityHeaders(request, reply);
    // Probes come with the address of one replica, which no setting can foresee.
    const isAllowed =
      allowedHosts.has(request.hostname) ||
      allowedHosts.has('*') ||
      PROBES.has(request.routeOptions.url ?? '');
    done(isAllowed ? undefined : new HostNotAllowedError('The Host is not in ALLOWED_HOSTS.'));
  });
}

export default fp(security, { name: 'security' });
