import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import { stopBudget, stopTime } from './stop-budget.ts';

/**
 * Listens until a signal or an unexpected error ends the process: with exit code 0 after SIGTERM
 * and SIGINT, with 1 after an error or if a port cannot be opened.
 */
export async function serve(app: FastifyInstance, config: Config): Promise<void> {
  let stopping = false;
  let failed = false;
  const { close } = closeWithGrace(
    { delay: stopTime, logger: app.log, skip: ['uncaughtException', 'unhandledRejection'] },
    async ({ signal }) => {
      stopping = true;
      if (signal) app.log.info({ signal }, 'stopping');
      const { farewell, requests, hooks, flush } = stopBudget;
      const closed = app.close().then(() => true);
      const isClosedIn = (time: number) => Promise.race([closed, sleep(time, false)]);
      if (!(await isClosedIn(farewell + requests + hooks))) {
        // It ends with the last events, and a hook that hangs keeps it from coming to that.
        await Sentry.flush(flush);
        if (!(await isClosedIn(0))) {
          app.log.error('something of the application does not close: stopping without it');
          failed = true;
        }
      }
      if (failed) process.exit(1);
    },
  );
  // close-with-grace would exit at a second error, before the events of both are sent.
  process.on('uncaughtException', (err) => {
    app.log.fatal({ err }, 'unexpected error, stopping');
    // The SDK reports the first by itself, and no other.
    if (failed) Sentry.captureException(err, { level: 'fatal' });
    failed = true;
    if (!stopping) close();
  });

  if (Sentry.isEnabled()) {
    app.log.info(
      `Sentry is on: environment ${config.SENTRY_ENVIRONMENT}, release ${config.SENTRY_RELEASE}`,
    );
  } else {
    app.log.warn('Sentry is off: errors are only logged. Set SENTRY_DSN to turn it on');
  }

  try {
    await app.listen({ host: config.HOST, port: config.PORT });
  } catch (error) {
    const { code, message, port } = error as NodeJS.ErrnoException & { port?: number };
    const setting = port === config.METRICS_PORT ? 'METRICS_PORT' : 'PORT';
    const reason =
      code === 'EADDRINUSE'
        ? `that port is in use. Set ${setting} to another`
        : `${message}. Set ${setting} or HOST to another`;
    app.log.fatal(`${setting} is ${config[setting]} on ${config.HOST}, but ${reason}.`);
    process.exit(1);
  }
}
