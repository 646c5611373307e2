import * as Sentry from '@sentry/node';
import closeWithGrace from 'close-with-grace';
import { buildApp } from './app.ts';
import { config } from './instrument.ts';
import { loggerOptions } from './logger.ts';
import { createMetrics } from './metrics.ts';
import { buildMetricsServer } from './metrics-server.ts';

/** Milliseconds to drain requests and send the last events. Container engines give 10 seconds. */
const GRACE_PERIOD = 8_000;
const SENTRY_FLUSH_TIMEOUT = 2_000;

const metrics = createMetrics();
const app = buildApp({ config, metrics, logger: loggerOptions(config.LOG_LEVEL) });
const metricsServer = buildMetricsServer(metrics);

closeWithGrace({ delay: GRACE_PERIOD, logger: app.log }, async ({ signal, err }) => {
  if (err) app.log.fatal({ err }, 'unexpected error, stopping');
  else app.log.info({ signal }, 'stopping');
  await app.close();
  await metricsServer.close();
  // The last thing: requests that were drained just now may have failed, too.
  await Sentry.close(SENTRY_FLUSH_TIMEOUT);
});

if (Sentry.isEnabled()) {
  app.log.info(
    `Sentry is on: environment ${config.SENTRY_ENVIRONMENT}, release ${config.SENTRY_RELEASE}`,
  );
} else {
  app.log.warn('Sentry is off: errors are only logged. Set SENTRY_DSN to turn it on');
}

await app.listen({ host: config.HOST, port: config.PORT });
const metricsAddress = await metricsServer.listen({ host: config.HOST, port: config.METRICS_PORT });
app.log.info(`Metrics at ${metricsAddress}/metrics`);
