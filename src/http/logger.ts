import type { FastifyRequest, FastifyServerOptions } from 'fastify';
import pretty from 'pino-pretty';
import { pathOf } from '../monitoring/request-url.ts';

/** Readable lines on a terminal; one JSON object a line everywhere else, as containers want it. */
export function loggerOptions(level: string) {
  return {
    level,
    // Neither the query string nor the client's address: both can hold what is nobody's business.
    serializers: {
      req: (request: FastifyRequest) => ({ method: request.method, path: pathOf(request) }),
    },
    ...(process.stdout.isTTY && { stream: pretty({ ignore: 'pid,hostname' }) }),
  } satisfies FastifyServerOptions['logger'];
}
