/** Writes docs/metrics.md: every metric, as the code defines it, and what it is used for. */
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { register } from 'prom-client';
import { buildDashboard } from '../grafana/dashboard.ts';
import '../src/metrics.ts';
import '../src/monitoring/index.ts';
import { collectProcessMetrics } from '../src/monitoring/registry.ts';
import { selectorsOf } from '../test/helpers/promql.ts';
import { type Rule, rules } from '../test/helpers/rules.ts';

/** What prom-client's types leave out. */
interface Metric {
  name: string;
  type: string;
  help: string;
  labelNames: string[];
}

interface Panel {
  title: string;
  targets?: { expr: string }[];
}

/** The samples of a histogram have names of their own. */
const familyOf = (sample: string) => sample.replace(/_(bucket|count|sum)$/, '');
const readBy = (query: string) => selectorsOf(query).map(({ metric }) => familyOf(metric));

collectProcessMetrics();

const recorded = new Map<string, Rule[]>();
for (const rule of rules) {
  if (rule.record) recorded.set(rule.record, [...(recorded.get(rule.record) ?? []), rule]);
}

/** The metrics that a query reads, also through what is recorded from them. */
function sources(query: string): string[] {
  return readBy(query).flatMap((name) => [
    name,
    ...(recorded.get(name) ?? []).flatMap(({ expr }) => sources(expr)),
  ]);
}

const panels = (buildDashboard() as { panels?: Panel[] }).panels ?? [];

function usesOf(name: string): string {
  const reads = (query: string) => sources(query).includes(name);
  const alerts = rules.flatMap(({ alert, expr }) => (alert && reads(expr) ? [alert] : []));
  const links = [...new Set(alerts)].map((alert) => `[${alert}](alerts/${alert}.md)`);
  const titles = panels
    .filter(({ targets = [] }) => targets.some(({ expr }) => reads(expr)))
    .map(({ title }) => `“${title}”`);
  return [...links, ...titles].join(', ');
}

function unitOf({ name }: Metric): string {
  return /_(seconds|bytes)(_total)?$/.exec(name)?.[1] ?? '';
}

function rowOf(metric: Metric): string {
  const { name, type, help, labelNames } = metric;
  const labels = labelNames.map((label) => `\`${label}\``).join(', ');
  const cells = [`\`${name}\``, type, unitOf(metric), labels, help, usesOf(name)];
  return `| ${cells.join(' | ')} |`;
}

function table(metrics: Metric[]): string {
  const head =
    '| Metric | Type | Unit | Labels | Help | Used in |\n| --- | --- | --- | --- | --- | --- |';
  return [head, ...metrics.map(rowOf)].join('\n');
}

export function metricsCatalogue(): string {
  const metrics = register.getMetricsAsArray() as unknown as Metric[];
  const isDefault = ({ name }: Metric) => /^(process|nodejs)_/.test(name);
  const recordedRows = [...recorded.keys()].map((name) => `| \`${name}\` | ${usesOf(name)} |`);

  return `# Metrics

Generated from the code by \`npm run metrics-catalogue\`, on Linux: elsewhere some metrics of the process are
missing. Prometheus adds the labels \`job\` and \`instance\` to each. The alerts and the dashboard's
panels that use a metric are named beside it.

## The application's own

${table(metrics.filter((metric) => !isDefault(metric)))}

## Of the process and of Node.js

From prom-client.

${table(metrics.filter(isDefault))}

## Recorded by Prometheus

By the rules in [prometheus/rules](../prometheus/rules), named \`level:metric:operations\`.

| Series | Used in |
| --- | --- |
${recordedRows.join('\n')}
`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(new URL('../docs/metrics.md', import.meta.url), metricsCatalogue());
}
