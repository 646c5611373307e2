import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prometheusQuery } from '../src/guide/links.ts';
import { eventually } from './helpers/eventually.ts';
import { assertExported, visitedApp } from './helpers/exposition.ts';
import { selectorsOf } from './helpers/promql.ts';
import { documentedQueries } from './helpers/promql-page.ts';
import { rules } from './helpers/rules.ts';

test('the page on PromQL has ten queries, each with a link and an answer', () => {
  assert.equal(documentedQueries.length, 10);
  for (const { query, link, answer } of documentedQueries) {
    assert.equal(link, prometheusQuery('http://localhost:9090', query));
    assert.match(answer, /^[\w:]*\{.*\} -?[\d.e-]+$/, query);
  }
});

test('each query is PromQL, for metrics and labels that exist', async (t) => {
  const app = await visitedApp(t);
  const recorded = rules.flatMap(({ record }) => record ?? []);
  await eventually(async () => {
    const samples = await app.samples();
    for (const { query } of documentedQueries) {
      const selectors = selectorsOf(query);
      assert.ok(selectors.length > 0, query);
      for (const selector of selectors) {
        if (!recorded.includes(selector.metric)) assertExported(selector, samples);
      }
    }
  });
});
