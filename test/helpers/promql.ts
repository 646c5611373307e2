import { readFileSync } from 'node:fs';
import { parser } from '@prometheus-io/lezer-promql';

/** A series selector in a query. */
export interface Selector {
  metric: string;
  /** As written, for example `job=~"$job"`. */
  matchers: string[];
  /** The range in brackets, for example `5m`. */
  range: string | undefined;
  /** The labels that it is matched or grouped by. */
  labels: string[];
}

/** The selectors of a query, parsed with Prometheus's own grammar. Throws at a syntax error. */
export function selectorsOf(query: string): Selector[] {
  // Grafana's variable is no duration in the grammar. One of the same length keeps all positions.
  const variable = '$__rate_interval';
  const tree = parser.parse(query.replaceAll(variable, '1m'.padStart(variable.length, '0')));
  const text = (node: { from: number; to: number }) => query.slice(node.from, node.to);
  const selectors: Selector[] = [];
  tree.iterate({
    enter({ name, type, from, node }) {
      if (type.isError) throw new SyntaxError(`${query}\n${' '.repeat(from)}^`);
      if (name !== 'VectorSelector') return;
      const matchers =
        node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher').map(text) ?? [];
      const labels = matchers.map((matcher) => /^\w+/.exec(matcher)?.[0] ?? '');
      const metric = node.getChild('Identifier');
      let range: string | undefined;
      for (let outer = node.parent; outer; outer = outer.parent) {
        const duration = outer.name === 'MatrixSelector' && outer.getChild('DurationExpr');
        if (duration) range = text(duration);
        const grouping = outer.getChild('AggregateModifier')?.getChild('GroupingLabels');
        labels.push(...(grouping?.getChildren('LabelName').map(text) ?? []));
      }
      selectors.push({ metric: metric ? text(metric) : '', matchers, range, labels });
    },
  });
  return selectors;
}

/** The panels of the dashboard that show data: rows are headings. */
export interface Panel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: {
    defaults: { unit: string; thresholds?: { steps: { value: number | null }[] } };
  };
  targets: { expr: string; exemplar?: boolean; instant?: boolean }[];
}

export const dashboard = JSON.parse(readFileSync('grafana/dashboards/application.json', 'utf8'));
export const panels: Panel[] = dashboard.panels.filter(({ type }: Panel) => type !== 'row');
