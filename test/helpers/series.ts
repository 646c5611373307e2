/** Every series in /metrics with its value. */
export async function readSeries(metricsUrl: string): Promise<Map<string, number>> {
  const text = await (await fetch(metricsUrl)).text();
  const lines = [...text.matchAll(/^(\w+(?:\{.*?\})?) (\S+)(?: # .*)?$/gm)];
  return new Map(lines.map(([, series, value]) => [series as string, Number(value)]));
}

/** The sum over all series that start with this. */
export function sumOf(series: Map<string, number>, prefix: string): number {
  let sum = 0;
  for (const [name, value] of series) if (name.startsWith(prefix)) sum += value;
  return sum;
}
