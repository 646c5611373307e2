/** Every query that is committed: the dashboards' panels, variables and annotations, and the rules. */
import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { Json } from './services.ts';

const DASHBOARDS = 'grafana/dashboards';
const RULES = 'prometheus/rules';

const filesIn = (folder: string, ending: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(`${folder}/${name}`, 'utf8'));

export interface Dashboard {
  uid: string;
  title: string;
  time: { from: string };
  panels: Json[];
  templating: { list: Json[] };
  annotations: { list: Json[] };
}

export const dashboards: Dashboard[] = filesIn(DASHBOARDS, '.json').map((json) => JSON.parse(json));

export interface PanelQuery {
  dashboard: Dashboard;
  /** The panel's title, and which of its queries. */
  name: string;
  target: Json;
}

export const panelQueries: PanelQuery[] = dashboards.flatMap((dashboard) =>
  // A row that is folded holds its panels; one that is open stands before them.
  dashboard.panels
    .flatMap((panel) => [panel, ...(panel.panels ?? [])])
    .flatMap(({ title, datasource, targets = [] }) =>
      targets.map((target: Json) => ({
        dashboard,
        name: `"${title}", query ${target.refId}`,
        target: { ...target, datasource: target.datasource ?? datasource },
      })),
    ),
);

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
}

export const rules: Rule[] = filesIn(RULES, '.yml')
  .flatMap((yaml) => parse(yaml).groups)
  .flatMap((group) => group.rules);

interface DataSource {
  uid: string;
  type: string;
  url: string;
  isDefault?: boolean;
  jsonData?: { timeInterval?: string };
}

export const dataSources: DataSource[] = filesIn(
  'grafana/provisioning/datasources',
  '.yml',
).flatMap((yaml) => parse(yaml).datasources);

/** The data source that a query names, directly or by a variable, as it is provisioned. */
export function dataSourceOf({ dashboard, target }: PanelQuery): DataSource {
  const uid = fillIn(target.datasource.uid, variables(dashboard));
  const found = dataSources.find((dataSource) => dataSource.uid === uid);
  if (!found) throw new Error(`no data source with the uid "${uid}" is provisioned`);
  return found;
}

/** The dashboard's own variables, with what is chosen when it is opened. */
export function variables({ templating }: Dashboard): Record<string, string> {
  return Object.fromEntries(
    templating.list.map(({ name, current, allValue }) => {
      const chosen = [current.value].flat();
      return [name, chosen.includes('$__all') ? allValue : chosen.join('|')];
    }),
  );
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

function seconds(duration: string): number {
  const [, count, unit] = /(\d+)([smhd])$/.exec(duration) ?? [];
  return Number(count) * (SECONDS[unit as string] as number);
}

/** The variables that Grafana adds, for a graph as fine as the samples are. */
export function intervals(dashboard: Dashboard, { jsonData }: DataSource): Record<string, string> {
  // 15s is what Grafana assumes where a data source does not say how often it is filled.
  const interval = seconds(jsonData?.timeInterval ?? '15s');
  const range = seconds(dashboard.time.from);
  return {
    __interval: `${interval}s`,
    __interval_ms: `${interval * 1000}`,
    __rate_interval: `${interval * 4}s`,
    __range: `${range}s`,
    __range_s: `${range}`,
    __range_ms: `${range * 1000}`,
  };
}

/** Puts values into $name, ${name} and ${name:format}; those that it has none for are left. */
export function fillIn(expression: string, values: Record<string, string>): string {
  return expression.replace(
    /\$(?:(\w+)|\{(\w+)(?::\w+)?\})/g,
    (variable, bare, braced) => values[bare ?? braced] ?? variable,
  );
}
