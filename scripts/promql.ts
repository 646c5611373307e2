/** Runs the queries in docs/promql.md in Prometheus, and writes the results below them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { prometheusQuery } from '../src/guide/links.ts';

const PAGE = new URL('../docs/promql.md', import.meta.url);
const prometheus = process.env.PROMETHEUS_URL || 'http://localhost:9090';

/** A query, followed by the link and the result that this script writes. */
const QUERY = /^```promql\n(.*?)\n```\n(?:\[Run it\]\(.*?\)\n```text\n.*?\n```\n)?/gms;

interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

async function ask(query: string): Promise<Sample[]> {
  const url = `${prometheus}/api/v1/query?${new URLSearchParams({ query })}`;
  const answer = await fetch(url).catch(() => undefined);
  if (!answer) {
    throw new Error(
      `Prometheus does not answer at ${prometheus}. Start the stack, or set PROMETHEUS_URL.`,
    );
  }
  const { data, error } = (await answer.json()) as { data?: { result: Sample[] }; error?: string };
  if (!data) throw new Error(`${error}: ${query}`);
  if (data.result.length === 0) {
    throw new Error(`No data yet. Start the traffic first. The query is ${query}`);
  }
  return data.result;
}

/** Without the address of the container, which differs at each start. */
function format({ metric, value: [, value] }: Sample): string {
  const { __name__: name = '', instance: _, ...labels } = metric;
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${pairs.join(', ')}} ${Number(Number(value).toPrecision(4))}`;
}

const page = readFileSync(PAGE, 'utf8');
const answers = new Map<string, string[]>();
for (const [, query = ''] of page.matchAll(QUERY)) {
  answers.set(query, (await ask(query)).map(format));
}
writeFileSync(
  PAGE,
  page.replace(QUERY, (_match, query) => {
    const link = prometheusQuery('http://localhost:9090', query);
    const answer = answers.get(query)?.join('\n');
    return `\`\`\`promql\n${query}\n\`\`\`\n[Run it](${link})\n\`\`\`text\n${answer}\n\`\`\`\n`;
  }),
);
