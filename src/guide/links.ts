import type { Config } from '../config.ts';

/** The pages of the other services; '' where there is none. */
export interface Links {
  tracker: string;
  jaeger: string;
  prometheus: string;
  grafana: string;
  alertmanager: string;
  mailbox: string;
  metrics: string;
  event: (eventId: string) => string;
  trace: (traceId: string) => string;
  /** Jaeger's search for the slow requests of the last hour. */
  slowTraces: string;
  /** A page of Prometheus. */
  prometheusPage: (path: string) => string;
  /** Prometheus's graph of a query. */
  query: (expression: string) => string;
}

export function linksFor(config: Config): Links {
  const { JAEGER_URL, PROMETHEUS_URL, SENTRY_EVENT_URL } = config;
  const slow = {
    service: config.OTEL_SERVICE_NAME,
    minDuration: '500ms',
    lookback: '1h',
    limit: '20',
  };
  const prometheusPage = (path: string) => PROMETHEUS_URL && PROMETHEUS_URL + path;
  return {
    tracker: config.SENTRY_URL,
    jaeger: JAEGER_URL,
    prometheus: PROMETHEUS_URL,
    grafana: config.GRAFANA_URL,
    alertmanager: config.ALERTMANAGER_URL,
    mailbox: config.MAILDEV_URL,
    metrics: `http://localhost:${config.METRICS_PORT}/metrics`,
    event: (eventId) => SENTRY_EVENT_URL && SENTRY_EVENT_URL + eventId,
    trace: (traceId) => JAEGER_URL && `${JAEGER_URL}/trace/${traceId}`,
    slowTraces: JAEGER_URL && `${JAEGER_URL}/search?${new URLSearchParams(slow)}`,
    prometheusPage,
    query: (expression) => PROMETHEUS_URL && prometheusQuery(PROMETHEUS_URL, expression),
  };
}

export function prometheusQuery(prometheusUrl: string, expression: string): string {
  const query = new URLSearchParams({ 'g0.expr': expression, 'g0.tab': 'graph' });
  return `${prometheusUrl}/query?${query}`;
}
