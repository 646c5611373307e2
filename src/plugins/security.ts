import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import helmet from 'helmet';
import type { Config } from '../config.ts';
import { PROBES } from '../routes/health.ts';

/** What a browser may do with the pages: show them with their own stylesheet, and nothing else. */
const setHelmetHeaders = helmet({
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
  // For browsers and plugins that are gone, said by the policy above, or the browser's own choice.
  originAgentCluster: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
});

/**
 * Helmet's headers, asked for once: they are the same for every request, and headers on the raw
 * response would keep Node from writing all of them in one go.
 */
export const SECURITY_HEADERS = headersOf(setHelmetHeaders);

function headersOf(middleware: typeof setHelmetHeaders): OutgoingHttpHeaders {
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  middleware(request, response, (error) => {
    if (error) throw error;
  });
  return response.getHeaders();
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

  const allowedHosts = new Set(config.ALLOWED_HOSTS.toLowerCase().split(','));
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    // Probes come with the address of one replica, which no setting can foresee.
    const isAllowed =
      allowedHosts.has(request.hostname.toLowerCase()) ||
      allowedHosts.has('*') ||
      PROBES.has(request.routeOptions.url ?? '');
    done(isAllowed ? undefined : new HostNotAllowedError('The Host is not in ALLOWED_HOSTS.'));
  });
}

export default fp(security, { name: 'security' });
