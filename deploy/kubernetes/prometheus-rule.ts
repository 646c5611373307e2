import { readdirSync, readFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';

/** The rules of prometheus/rules as the Prometheus Operator takes them: one object with all groups. */
export function prometheusRule(): string {
  const groups = readdirSync('prometheus/rules')
    .sort()
    .flatMap((file) => parse(readFileSync(`prometheus/rules/${file}`, 'utf8')).groups);
  const rule = {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: 'app' },
    spec: { groups: mergeByName(groups) },
  };
  const heading = '# Made of prometheus/rules by `npm run kubernetes`. Change it there.\n';
  return heading + stringify(rule, { lineWidth: 0 });
}

interface Group {
  name: string;
  rules: unknown[];
}

/** In files of their own, groups may have the same name; in one object they may not. */
function mergeByName(groups: Group[]): Group[] {
  const merged = new Map<string, Group>();
  for (const group of groups) {
    const known = merged.get(group.name);
    if (known) known.rules.push(...group.rules);
    else merged.set(group.name, group);
  }
  return [...merged.values()];
}
