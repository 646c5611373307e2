/**
 * Everything that watches the application. This folder imports nothing from outside of it, and can
 * be taken to another application as it is: docs/your-own-application.md.
 */
import type { FastifyInstance, FastifyListenOptions, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import errors, { ReportingLog } from './errors.ts';
import { type InfoOptions, setInfo } from './info-metrics.ts';
import { buildMetricsServer } from './metrics-server.ts';
import requestMetrics from './request-metrics.ts';
import scopes from './scope.ts';
import { genReqId } from './trace-id.ts';
import type { TraceOptions } from './traces.ts';
import { sendLastEvents } from './transport.ts';

export { onEnd, requestLabels, routeLabels, statusCodeOf } from './request.ts';

/** Fastify's options for one id everywhere: a request's id is its trace's, and in every log line. */
export const traceIds = {
  genReqId,
  logController: new ReportingLog({ requestIdLogLabel: 'trace_id' }),
};

const FLUSH_TIMEOUT = 2_000;

export interface MonitoringOptions extends InfoOptions, TraceOptions {
  /** Where /metrics is served. */
  metrics?: FastifyListenOptions;
  /** Who asked, by an id that says nothing else of them: the tracker counts whom an error met. */
  userId?: (request: FastifyRequest) => string | null;
}

/** To be awaited, and registered before everything else: it sees the first route, and closes last. */
async function monitoring(app: FastifyInstance, options: MonitoringOptions) {
  app.decorateRequest('userId', {
    getter(this: FastifyRequest) {
      return options.userId?.(this) ?? null;
    },
  });
  await app.register(scopes, options);
  // What failed is reported before the metrics name its event.
  await app.register(errors);
  await app.register(requestMetrics);
  setInfo(options);

  const metricsServer = buildMetricsServer(app.log);
  app.addHook('onReady', async () => {
    const address = await metricsServer.listen(options.metrics ?? { port: 9464 });
    app.log.info(`Metrics at ${address}/metrics`);
  });
  app.addHook('onClose', async () => {
    await metricsServer.close();
    // The last thing: requests that were drained just now may have failed, too.
    const lost = await sendLastEvents(FLUSH_TIMEOUT);
    if (lost.length > 0) app.log.error({ lost }, 'events did not reach the tracker');
  });
}

export default fp(monitoring, { name: 'monitoring' });
