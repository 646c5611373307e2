/** What Prometheus gets: text is for everybody who does not ask for more. */
export async function readOpenMetrics(metricsUrl: string): Promise<string> {
  const headers = { accept: 'application/openmetrics-text' };
  return (await fetch(metricsUrl, { headers })).text();
}
