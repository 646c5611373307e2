/** Errors, traces and metrics of a Fastify application: the article's `DjangoIntegration()`, and its /metrics. */
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyListenOptions } from 'fastify';
import fp from 'fastify-plugin';
import { Registry, type RegistryContentType, register } from 'prom-client';
import metricsServer from './metrics-server.ts';
import requestMetrics from './request-metrics.ts';
import sentry from './sentry.ts';

export { labelsOf, onEnd, routeLabels } from './request.ts';
export { recordedTraceId } from './sentry.ts';
export { traceIds } from './trace-ids.ts';

export interface MonitoringOptions {
  /**
   * Where /metrics is served: by default port 9464, on localhost only. With false it is not served.
   */
  metrics?: FastifyListenOptions | false;
  /** How many traces are started per second at most, 10 by default. */
  maxTracesPerSecond?: number;
  /** Milliseconds to send the last events when the application closes, 2000 by default. */
  flushTimeout?: number;
}

/** Await it before the first route: the series of earlier routes do not start at 0. */
async function monitoring(app: FastifyInstance, options: MonitoringOptions) {
  const { metrics = { port: 9464 }, maxTracesPerSecond, flushTimeout = 2_000 } = options;
  // Exemplars need this format.
  (register as Registry<RegistryContentType>).setContentType(Registry.OPENMETRICS_CONTENT_TYPE);

  if (!Sentry.isInitialized()) {
    app.log.warn(
      'Sentry.init was not called, so no error is reported: start with node --import ./dist/instrument.js',
    );
  }
  // onClose hooks run in reverse order, so errors in the others are sent, too.
  app.addHook('onClose', async () => {
    await Sentry.flush(flushTimeout);
  });
  await app.register(sentry, { maxTracesPerSecond });
  await app.register(requestMetrics);
  if (metrics) await app.register(metricsServer, { listen: metrics });
}

export default fp(monitoring, { name: 'monitoring' });
