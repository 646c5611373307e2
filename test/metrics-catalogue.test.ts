import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { metricsCatalogue } from '../scripts/metrics-catalogue.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const committed = readFileSync('docs/metrics.md', 'utf8');

test('the committed catalogue of metrics is what the code says', {
  skip: process.platform !== 'linux' && 'some metrics of the process are there on Linux only',
}, () => {
  assert.equal(committed, metricsCatalogue(), 'run "npm run metrics-catalogue", commit the result');
});

test('the catalogue has every metric that the application exports, with its type', async (t) => {
  const app = await spawnApp(t, { SENTRY_DSN: 'http://key@127.0.0.1:9/1' });
  const exposition = await (await fetch(app.metricsUrl)).text();
  const families = [...exposition.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  assert.ok(families.length > 30);
  for (const [, name, type] of families) {
    assert.ok(committed.includes(`| \`${name}\` | ${type} |`), `${name}, a ${type}`);
  }
});
