import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** The pages load their own stylesheet and nothing else. */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none';style-src 'self';img-src data:;base-uri 'none';form-action 'self';frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
};

async function securityHeaders(app: FastifyInstance) {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers(SECURITY_HEADERS);
    done();
  });
}

export default fp(securityHeaders, { name: 'security-headers' });
