import type { Config } from '../config.ts';

/** An event's page in the tracker; '' without a tracker. */
export function eventUrl({ SENTRY_EVENT_URL }: Pick<Config, 'SENTRY_EVENT_URL'>, eventId: string) {
  return SENTRY_EVENT_URL && SENTRY_EVENT_URL + eventId;
}

/** Prometheus's own page with a query filled in and its graph open; '' without a Prometheus. */
export function prometheusQuery(prometheusUrl: string, expression: string): string {
  if (!prometheusUrl) return '';
  const query = new URLSearchParams({ 'g0.expr': expression, 'g0.tab': 'graph' });
  return `${prometheusUrl}/query?${query}`;
}

/** An address with parameters that are set. Without a path it is the page that the link is on. */
export function addParameters(address: string, parameters: Record<string, string>): string {
  const [path = ''] = address.split('?', 1);
  const search = new URLSearchParams(address.slice(path.length));
  for (const [name, value] of Object.entries(parameters)) search.set(name, value);
  return `${path}?${search}`;
}

/** A trace's page in Jaeger; '' without a Jaeger. */
export function traceUrl({ JAEGER_URL }: Pick<Config, 'JAEGER_URL'>, traceId: string): string {
  return JAEGER_URL && `${JAEGER_URL}/trace/${traceId}`;
}

/** Jaeger's search, filled in for the slow requests of the last hour; '' without a Jaeger. */
export function slowTraces({
  JAEGER_URL,
  OTEL_SERVICE_NAME: service,
}: Pick<Config, 'JAEGER_URL' | 'OTEL_SERVICE_NAME'>): string {
  if (!JAEGER_URL) return '';
  const search = new URLSearchParams({
    service,
    minDuration: '500ms',
    lookback: '1h',
    limit: '20',
  });
  return `${JAEGER_URL}/search?${search}`;
}
