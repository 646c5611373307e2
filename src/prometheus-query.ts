/**
 * The address of Prometheus's own page with a query filled in and its graph open.
 *
 * @param prometheusUrl PROMETHEUS_URL; without it there is no page to link to.
 * @param expression PromQL.
 * @returns an empty string if there is no Prometheus.
 */
export function prometheusQuery(prometheusUrl: string, expression: string): string {
  if (!prometheusUrl) return '';
  const query = new URLSearchParams({ 'g0.expr': expression, 'g0.tab': 'graph' });
  return `${prometheusUrl}/query?${query}`;
}
