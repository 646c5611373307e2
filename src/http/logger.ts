import type { FastifyRequest, FastifyServerOptions } from 'fastify';
import pretty from 'pino-pretty';
import { copyOf } from '../monitoring/readable-error.ts';
import { pathOf } from '../monitoring/request-url.ts';
import { logDestination } from './log-destination.ts';

/** Readable lines on a terminal; one JSON object a line everywhere else, as containers want it. */
export function loggerOptions(level: string) {
  const destination = logDestination();
  return {
    level,
    // Neither the query string nor the client's address: both can be private.
    serializers: {
      req: (request: FastifyRequest) => ({ method: request.method, path: pathOf(request) }),
    },
    hooks: { logMethod: writeAnyway },
    stream: process.stdout.isTTY ? pretty({ ignore: 'pid,hostname', destination }) : destination,
  } satisfies FastifyServerOptions['logger'];
}

/** Writes a line also when its error refuses to be read, or to be marked as read: a log never fails. */
function writeAnyway(this: unknown, args: unknown[], write: (...args: never[]) => void): void {
  try {
    Reflect.apply(write, this, args);
  } catch {
    const [values, ...message] = args;
    Reflect.apply(write, this, [{ err: copyOf(errorIn(values)) }, ...message]);
  }
}

/** The error in a line's values, or the one that stands for all of them. */
function errorIn(values: unknown): unknown {
  try {
    return (values as { err?: unknown }).err ?? values;
  } catch {
    return values;
  }
}
