/** Every query of the committed dashboards, as Grafana runs it when a dashboard is opened. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Json } from './services.ts';

const FOLDER = 'grafana/dashboards';

export interface Dashboard {
  uid: string;
  title: string;
  panels: Json[];
  templating: { list: Json[] };
  annotations: { list: Json[] };
}

export const dashboards: Dashboard[] = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(`${FOLDER}/${name}`, 'utf8')));

/** What Grafana puts into the variables that it adds itself. */
const INTERVALS: Record<string, string> = {
  __interval: '5s',
  __rate_interval: '20s',
  __range: '15m',
};

/** The queries of all panels: their names, and their expressions without variables. */
export const panelQueries = dashboards.flatMap((dashboard) =>
  // A row that is folded holds its panels; one that is open stands before them.
  dashboard.panels
    .flatMap((panel) => [panel, ...(panel.panels ?? [])])
    .flatMap(({ title, targets = [] }) =>
      targets.map(({ refId, expr }: Json) => ({
        name: `panel "${title}", query ${refId}`,
        expr: fillIn(expr, dashboard),
      })),
    ),
);

/** Puts what is chosen when the dashboard is opened into $name, ${name} and ${name:format}. */
export function fillIn(expression: string, { templating }: Dashboard): string {
  const values: Record<string, string> = { ...INTERVALS };
  for (const { name, current, allValue } of templating.list) {
    const chosen = [current.value].flat();
    values[name] = chosen.includes('$__all') ? allValue : chosen.join('|');
  }
  return expression.replace(
    /\$(?:(\w+)|\{(\w+)(?::\w+)?\})/g,
    (variable, bare, braced) => values[bare ?? braced] ?? variable,
  );
}
