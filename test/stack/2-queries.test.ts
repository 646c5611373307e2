/** Every query of every panel, of every rule and of the page on PromQL has data. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { documentedQueries } from '../helpers/promql-page.ts';
import { type Service, startStack } from './helpers/compose.ts';
import {
  dashboards,
  dataSourceOf,
  fillIn,
  intervals,
  panelQueries,
  rules,
  variables,
} from './helpers/queries.ts';
import { assertHasData, getJson, type Json } from './helpers/services.ts';
import { patienceOf, startTraffic } from './helpers/traffic.ts';

const { urls, compose } = await startStack();
// A stack that ran before may have older rules. Through the shell and not by `docker kill`, after
// which the engine would no longer restart the container.
await compose('exec', '-T', 'prometheus', 'sh', '-c', 'kill -HUP 1');
// Too few errors for an alert in somebody's mailbox.
startTraffic(urls.app, { rate: 20, errors: 0.02 });
// All wait together: rules may be evaluated once a minute only, but if nothing has data, the last
// test should know soon after the first.
const patience = patienceOf(90);

test('there are panels and rules to ask for', () => {
  assert.ok(panelQueries.length > 0 && rules.length > 0);
});

for (const panelQuery of panelQueries) {
  const { name, dashboard, target } = panelQuery;
  test(`panel ${name} has data`, async () => {
    const dataSource = dataSourceOf(panelQuery);
    assert.equal(target.datasource.type, dataSource.type);
    const expression = fillIn(target.expr, {
      ...variables(dashboard),
      ...intervals(dashboard, dataSource),
    });
    assert.doesNotMatch(expression, /\$/, 'every variable has a value');
    const service = new URL(dataSource.url).hostname as Service;
    await eventually(() => assertHasData(urls[service], expression), patience());
  });
}

for (const dashboard of dashboards) {
  for (const { name, type, query } of dashboard.templating.list) {
    if (type !== 'query') continue;
    test(`variable $${name} has values to choose from`, async () => {
      const expression = fillIn(query.query ?? query, variables(dashboard));
      const [, selector, label] = /^label_values\((.+), *(\w+)\)$/.exec(expression) ?? [];
      assert.ok(selector && label, `${expression} is understood`);
      const parameters = new URLSearchParams({ 'match[]': selector });
      const { data } = await getJson(
        `${urls.prometheus}/api/v1/label/${label}/values?${parameters}`,
      );
      assert.ok(data.length > 0, `no values: ${expression}`);
    });
  }
}

for (const { query } of documentedQueries) {
  test(`the query ${query.replaceAll(/\s+/g, ' ')} of docs/promql.md has data`, async () => {
    await eventually(() => assertHasData(urls.prometheus, query), patience());
  });
}

for (const { record, alert, expr, labels = {} } of rules) {
  const loaded = async (): Promise<Json> => {
    const { data } = await getJson(
      `${urls.prometheus}/api/v1/rules?rule_name[]=${record ?? alert}`,
    );
    const found: Json[] = data.groups.flatMap((group: Json) => group.rules);
    const rule = found.find((rule) =>
      Object.entries(labels).every(([name, value]) => rule.labels[name] === value),
    );
    assert.equal(rule?.health, 'ok', `${rule?.lastError ?? 'it is not loaded'}`);
  };

  if (record) {
    test(`rule ${record} has data`, async () => {
      const matchers = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
      await eventually(async () => {
        await loaded();
        await assertHasData(urls.prometheus, expr);
        await assertHasData(urls.prometheus, `${record}{${matchers}}`);
      }, patience());
    });
  } else {
    test(`alert ${alert} is evaluated, and every series that it looks at has data`, async () => {
      await eventually(loaded, patience());
      for (const selector of await selectors(expr)) {
        await eventually(() => assertHasData(urls.prometheus, selector), patience());
      }
    });
  }
}

/** The selectors of series in an expression, as Prometheus's own parser finds them. */
async function selectors(expression: string): Promise<string[]> {
  const parameters = new URLSearchParams({ query: expression });
  const { data } = await getJson(`${urls.prometheus}/api/v1/parse_query?${parameters}`);
  const walk = (node: Json): string[] => {
    if (typeof node !== 'object' || node === null) return [];
    if (!node.matchers) return Object.values(node).flatMap(walk);
    const matchers = node.matchers.map(
      ({ name, type, value }: Record<string, string>) => `${name}${type}${JSON.stringify(value)}`,
    );
    return [`{${matchers.join(', ')}}`];
  };
  return walk(data);
}
