import { parser } from '@prometheus-io/lezer-promql';

/** A series selector, and what is around it. */
export interface Selector {
  metric: string;
  /** As written, for example `job=~"$job"`. */
  matchers: string[];
  /** The range in brackets, for example `5m`. */
  range: string | undefined;
  aggregated: boolean;
  /** The labels that it is matched or grouped by. */
  labels: string[];
}

/** The selectors of a query, parsed with Prometheus's own grammar. Throws at a syntax error. */
export function selectorsOf(query: string): Selector[] {
  // Grafana's variable stands where the grammar wants a duration: as long as it, so that all
  // positions stay.
  const variable = '$__rate_interval';
  const expr = query.replaceAll(variable, '1m'.padStart(variable.length, '0'));
  const tree = parser.parse(expr);
  tree.iterate({
    enter(node) {
      if (node.type.isError) throw new SyntaxError(`${query}\n${' '.repeat(node.from)}^`);
    },
  });

  const text = (node: { from: number; to: number }) => query.slice(node.from, node.to);
  const selectors: Selector[] = [];
  tree.iterate({
    enter({ name, node }) {
      if (name !== 'VectorSelector') return;
      const matchers =
        node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher').map(text) ?? [];
      const labels = matchers.map((matcher) => /^\w+/.exec(matcher)?.[0] ?? '');
      const metric = node.getChild('Identifier');
      let range: string | undefined;
      let aggregated = false;
      for (let outer = node.parent; outer; outer = outer.parent) {
        const duration = outer.name === 'MatrixSelector' && outer.getChild('DurationExpr');
        if (duration) range = text(duration);
        if (outer.name !== 'AggregateExpr') continue;
        aggregated = true;
        const grouping = outer.getChild('AggregateModifier')?.getChild('GroupingLabels');
        labels.push(...(grouping?.getChildren('LabelName').map(text) ?? []));
      }
      selectors.push({ metric: metric ? text(metric) : '', matchers, range, aggregated, labels });
    },
  });
  return selectors;
}
