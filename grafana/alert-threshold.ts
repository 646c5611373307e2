import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

const RULES = new URL('../prometheus/rules/', import.meta.url);

/** What an alert compares with, taken from its rule: a line on a panel is where the alert fires. */
export function alertThreshold(name: string): number {
  const groups: { rules: { alert?: string; expr: string }[] }[] = readdirSync(RULES).flatMap(
    (file) => parse(readFileSync(new URL(file, RULES), 'utf8')).groups,
  );
  const rule = groups.flatMap(({ rules }) => rules).find(({ alert }) => alert === name);
  const threshold = / > ([\d.]+)$/m.exec(rule?.expr ?? '')?.[1];
  if (threshold === undefined) throw new Error(`${name} has no threshold in prometheus/rules`);
  return Number(threshold);
}
