/** Every query of every panel, of every rule and of docs/promql.md has data. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { documentedQueries } from '../helpers/promql-page.ts';
import { rules } from '../helpers/rules.ts';
import { type Stack, startStack } from './helpers/compose.ts';
import { panelQueries } from './helpers/queries.ts';
import { getJson, type Json, query } from './helpers/services.ts';
import { startTraffic } from './helpers/traffic.ts';

let urls: Stack['urls'];
let deadline: number;
before(async () => {
  const stack = await startStack();
  urls = stack.urls;
  // A stack that ran before may have older rules. Through the shell and not by `docker kill`, after
  // which the engine would not restart the container.
  await stack.compose('exec', '-T', 'prometheus', 'sh', '-c', 'kill -HUP 1');
  // Too few errors to fire an alert.
  startTraffic(urls.app, 0.02);
  // All tests wait for the same traffic: if nothing has data, the last one fails soon after the first.
  deadline = Date.now() + 90_000;
});

const hasData = (expression: string) =>
  eventually(
    async () => {
      const samples = await query(urls.prometheus, expression);
      assert.ok(
        samples.some(({ value: [, value] }) => value !== 'NaN'),
        `no data: ${expression}`,
      );
    },
    Math.max((deadline - Date.now()) / 1000, 5),
  );

/** The selectors of series in an expression, as Prometheus's own parser finds them. */
async function selectorsOf(expression: string): Promise<string[]> {
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

const queries = [
  ...panelQueries,
  ...documentedQueries.map(({ query }, index) => ({
    name: `query ${index + 1} of docs/promql.md`,
    expr: query,
  })),
  ...rules
    .filter(({ record }) => record)
    .map(({ record = '', labels = {} }) => {
      const matchers = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
      return { name: `rule ${record} ${matchers}`, expr: `${record}{${matchers}}` };
    }),
];
for (const { name, expr } of queries) {
  test(`${name} has data`, () => hasData(expr));
}

// An alert that does not fire has no data, but the series that it reads do.
for (const { alert, labels = {}, expr } of rules.filter(({ alert }) => alert)) {
  test(`every series that alert ${alert} ${labels.window ?? ''} reads has data`, async () => {
    for (const selector of await selectorsOf(expr)) await hasData(selector);
  });
}

test('Prometheus evaluates every rule without an error', async () => {
  await eventually(async () => {
    const { data } = await getJson(`${urls.prometheus}/api/v1/rules`);
    const loaded: Json[] = data.groups.flatMap((group: Json) => group.rules);
    assert.equal(loaded.length, rules.length);
    for (const { name, health, lastError } of loaded) {
      assert.equal(health, 'ok', `${name}: ${lastError}`);
    }
  }, 30);
});
