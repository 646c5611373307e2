/**
 * Everything that watches the application: the article's `DjangoIntegration()`. This folder imports
 * nothing from outside of it, and can be taken to another application as it is:
 * docs/your-own-application.md.
 */
import * as Sentry from '@sentry/node';
import type { FastifyInstance, FastifyListenOptions } from 'fastify';
import fp from 'fastify-plugin';
import errors, { ReportingLog } from './errors.ts';
import { type InfoOptions, setInfo } from './info-metrics.ts';
import { buildMetricsServer } from './metrics-server.ts';
import otlpTraces, { sendLastSpans } from './otlp-traces.ts';
import { collectProcessMetrics } from './registry.ts';
import { decorateReply } from './request.ts';
import requestMetrics from './request-metrics.ts';
import scopes from './scope.ts';
import { genReqId } from './trace-context.ts';
import type { TraceOptions } from './traces.ts';
import * as transport from './transport.ts';

export { eventIdOf, ReportingLog } from './errors.ts';
export { onEnd, requestLabels, routeLabels, statusCodeOf } from './request.ts';
export { isTraced } from './scope.ts';

/** Fastify's options for one id everywhere: a request's id is its trace's, and in every log line. */
export const traceIds = {
  genReqId,
  logController: new ReportingLog({ requestIdLogLabel: 'trace_id' }),
};

/**
 * Sends the events and the spans that still wait, for at most so many milliseconds. To be called when the
 * process ends: spans that come later are sent no more.
 */
export async function sendLastEvents(timeout: number): Promise<void> {
  await Promise.all([transport.sendLastEvents(timeout), sendLastSpans(timeout)]);
}

export interface MonitoringOptions extends InfoOptions, TraceOptions, transport.WaitingOptions {
  /** Where /metrics is served: by default at port 9464 of this machine alone, with false nowhere. */
  metrics?: FastifyListenOptions | false;
  /** Milliseconds to send what still waits when the application closes: 2000 by default. */
  flushTimeout?: number;
}

/** With other ids the log, the header and the tracker would each name another one, or none. */
function refuseIds(): never {
  throw new Error(
    'Monitoring needs its ids: create the application with Fastify({ ...traceIds }), without genReqId or requestIdHeader of its own, and call no setGenReqId.',
  );
}

/** To be awaited, and registered before everything else: it sees the first route, and closes last. */
async function monitoring(app: FastifyInstance, options: MonitoringOptions) {
  if ((app as { genReqId?: unknown }).genReqId !== genReqId) refuseIds();
  app.setGenReqId = refuseIds;
  if (!Sentry.isInitialized()) {
    app.log.warn(
      'Sentry.init was not called before the monitoring, so that no error of a request is reported: ' +
        'start with node --import ./dist/instrument.js',
    );
  }
  decorateReply(app);
  await app.register(otlpTraces, options);
  await app.register(scopes, options);
  // What failed is reported before the metrics name its event.
  await app.register(errors);
  await app.register(requestMetrics);
  setInfo(options);
  transport.startTransport(app.log, options);

  const { metrics = { port: 9464 } } = options;
  const metricsServer = buildMetricsServer(app.log);
  app.addHook('onReady', async () => {
    collectProcessMetrics();
    if (!metrics) return;
    const address = await metricsServer.listen(metrics);
    app.log.info(`Metrics at ${address}/metrics`);
  });
  app.addHook('onClose', async () => {
    await metricsServer.close();
    // The last thing: requests that were drained just now may have failed, too.
    await sendLastEvents(options.flushTimeout ?? 2_000);
  });
}

export default fp(monitoring, { name: 'monitoring' });
