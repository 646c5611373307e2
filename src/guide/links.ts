import type { Config } from '../config.ts';

export type Links = ReturnType<typeof linksFor>;

/** The pages of the other services; '' where there is none. */
export function linksFor(config: Config) {
  const { JAEGER_URL, PROMETHEUS_URL, SENTRY_EVENT_URL } = config;
  const slow = {
    service: config.OTEL_SERVICE_NAME,
    minDuration: '500ms',
    lookback: '1h',
    limit: '20',
  };
  return {
    tracker: config.SENTRY_URL,
    jaeger: JAEGER_URL,
    prometheus: PROMETHEUS_URL,
    grafana: config.GRAFANA_URL,
    alertmanager: config.ALERTMANAGER_URL,
    mailbox: config.MAILDEV_URL,
    /** As the browser sees them: Docker publishes the port on this machine. */
    metrics: `http://localhost:${config.METRICS_PORT}/metrics`,
    event: (eventId: string) => SENTRY_EVENT_URL && SENTRY_EVENT_URL + eventId,
    trace: (traceId: string) => JAEGER_URL && `${JAEGER_URL}/trace/${traceId}`,
    /** Jaeger's search for the slow requests of the last hour. */
    slowTraces: JAEGER_URL && `${JAEGER_URL}/search?${new URLSearchParams(slow)}`,
    prometheusPage: (path: string) => PROMETHEUS_URL && PROMETHEUS_URL + path,
    /** Prometheus's graph of a query. */
    query: (expression: string) => PROMETHEUS_URL && prometheusQuery(PROMETHEUS_URL, expression),
  };
}

export function prometheusQuery(prometheusUrl: string, expression: string): string {
  const query = new URLSearchParams({ 'g0.expr': expression, 'g0.tab': 'graph' });
  return `${prometheusUrl}/query?${query}`;
}
