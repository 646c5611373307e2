import * as Sentry from '@sentry/node';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import type { Config } from './config.ts';
import type { Metrics } from './metrics.ts';
import { buildMetricsServer } from './metrics-server.ts';
import { giveUpWaiting, lostEvents } from './sentry-transport.ts';

/** Milliseconds to drain requests and send the last events. Container engines give 10 seconds. */
const GRACE_PERIOD = 8_000;
const SENTRY_FLUSH_TIMEOUT = 2_000;
const SENTRY_REPORT_TIMEOUT = 100;

/**
 * Listens until a signal or an unexpected error ends the process: with exit code 0 after SIGTERM
 * and SIGINT, with 1 after an error or if a port cannot be opened.
 */
export async function serve(app: FastifyInstance, metrics: Metrics, config: Config): Promise<void> {
  const metricsServer = buildMetricsServer(metrics);

  let stopping = false;
  let failed = false;
  const { close } = closeWithGrace(
    { delay: GRACE_PERIOD, logger: app.log, skip: ['uncaughtException', 'unhandledRejection'] },
    async ({ signal }) => {
      stopping = true;
      if (signal) app.log.info({ signal }, 'stopping');
      try {
        await app.close();
        await metricsServer.close();
      } finally {
        // The last thing: requests that were drained just now may have failed, too.
        await sendLastEvents();
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

  await app.ready();
  await listen(app, 'PORT');
  app.log.info(`Metrics at ${await listen(metricsServer, 'METRICS_PORT')}/metrics`);

  async function sendLastEvents() {
    await Sentry.flush(SENTRY_FLUSH_TIMEOUT);
    // Has the SDK report what that flush lost. No scrape will see it any more, so it is logged.
    await Sentry.close(SENTRY_REPORT_TIMEOUT);
    giveUpWaiting();
    const lost = [...lostEvents.values()];
    if (lost.length > 0) app.log.error({ lost }, 'events did not reach the tracker');
  }

  async function listen(server: FastifyInstance, port: 'PORT' | 'METRICS_PORT') {
    try {
      return await server.listen({ host: config.HOST, port: config[port] });
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const reason =
        code === 'EADDRINUSE'
          ? `that port is in use. Set ${port} to another`
          : `${message}. Set ${port} or HOST to another`;
      app.log.fatal(`${port} is ${config[port]} on ${config.HOST}, but ${reason}.`);
      process.exit(1);
    }
  }
}
