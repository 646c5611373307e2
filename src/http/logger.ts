import type { FastifyRequest, FastifyServerOptions } from 'fastify';
import pretty from 'pino-pretty';

/** Readable lines on a terminal; one JSON object per line everywhere else. */
export function loggerOptions(level: string) {
  const { isTTY } = process.stdout;
  return {
    level,
    // Neither the query string nor the client's address: both can be private.
    serializers: {
      req: ({ method, url }: FastifyRequest) => ({ method, path: url.split('?')[0] }),
    },
    // hasColors() respects NO_COLOR and FORCE_COLOR=0.
    ...(isTTY && {
      stream: pretty({ ignore: 'pid,hostname', colorize: process.stdout.hasColors() }),
    }),
  } satisfies FastifyServerOptions['logger'];
}
