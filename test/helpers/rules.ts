import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  keep_firing_for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}
export type Alert = Rule & { alert: string };

/** One check of an alert in a file for `promtool test rules`. */
export interface AlertTest {
  test: string;
  alertname: string;
  seconds: number;
  expected: { exp_labels: Record<string, string> }[];
}

export const ruleFiles = filesIn('prometheus/rules');
export const testFiles = filesIn('prometheus/tests');

export const rules: Rule[] = ruleFiles
  .flatMap((file) => parseFile(file).groups)
  .flatMap((group) => group.rules);
export const alerts = rules.filter((rule): rule is Alert => rule.alert !== undefined);

/** What a file for `promtool test rules` says of the rules that it tests. */
export const testSettings: { file: string; rule_files: string[]; group_eval_order?: string[] }[] =
  testFiles.map((file) => ({ file, ...parseFile(file) }));

export const alertTests: AlertTest[] = testFiles
  .flatMap((file) => parseFile(file).tests)
  .flatMap(({ name, alert_rule_test = [] }) =>
    alert_rule_test.map(
      (check: { alertname: string; eval_time: string; exp_alerts?: AlertTest['expected'] }) => ({
        test: name,
        alertname: check.alertname,
        seconds: secondsOf(check.eval_time),
        expected: check.exp_alerts ?? [],
      }),
    ),
  );

/** The names of the groups of rules in a file. */
export const groupsIn = (file: string): string[] =>
  parseFile(file).groups.map(({ name }: { name: string }) => name);

function filesIn(folder: string): string[] {
  return readdirSync(folder).map((file) => `${folder}/${file}`);
}

// biome-ignore lint/suspicious/noExplicitAny: promtool checks the files against their schema
function parseFile(file: string): any {
  return parse(readFileSync(file, 'utf8'));
}

/** Seconds in a duration as Prometheus writes it, for example `1h5m`. */
function secondsOf(duration: string): number {
  const units: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 };
  return [...duration.matchAll(/(\d+)([dhms])/g)]
    .map(([, count, unit = '']) => Number(count) * (units[unit] ?? Number.NaN))
    .reduce((total, seconds) => total + seconds, 0);
}
