import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prometheusQuery } from '../src/guide/links.ts';
import { eventually } from './helpers/eventually.ts';
import { assertExported, visitedApp } from './helpers/exposition.ts';
import { dashboard, panels, selectorsOf } from './helpers/promql.ts';
import { documentedQueries } from './helpers/promql-page.ts';
import { rules } from './helpers/rules.ts';

const recorded = rules.flatMap(({ record }) => record ?? []);
const queries: string[] = [
  ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ target }: { target: { expr: string } }) => target.expr),
  ...documentedQueries.map(({ query }) => query),
];

test('the dashboard and docs/promql.md read metrics and labels that exist', async (t) => {
  const app = await visitedApp(t);
  await eventually(async () => {
    const samples = await app.samples();
    for (const selector of queries.flatMap(selectorsOf)) {
      // The latter two are Prometheus's own.
      if ([...recorded, 'up', 'ALERTS'].includes(selector.metric)) continue;
      assertExported(selector, samples);
    }
  });
});

test('each query in docs/promql.md has its link and a result', () => {
  assert.ok(documentedQueries.length > 0);
  for (const { query, link, answer } of documentedQueries) {
    assert.equal(link, prometheusQuery('http://localhost:9090', query));
    assert.match(answer, /^[\w:]*\{.*\} -?[\d.e-]+$/, query);
  }
});
