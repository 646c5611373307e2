import type { FastifyRequest, FastifyServerOptions } from 'fastify';
import pretty from 'pino-pretty';
import { logDestination } from './log-destination.ts';

/** Readable lines on a terminal; one JSON object a line everywhere else, as containers want it. */
export function loggerOptions(level: string) {
  const destination = logDestination();
  return {
    level,
    // Neither the query string nor the client's address: both can be private.
    serializers: {
      req: (request: FastifyRequest) => ({
        method: request.method,
        path: request.url.split('?')[0],
      }),
    },
    stream: process.stdout.isTTY ? pretty({ ignore: 'pid,hostname', destination }) : destination,
  } satisfies FastifyServerOptions['logger'];
}
