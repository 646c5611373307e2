import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { buildDashboard } from '../grafana/dashboard.ts';

test('the committed dashboard is what its source generates', () => {
  const committed = readFileSync('grafana/dashboards/application.json', 'utf8');
  const generated = `${JSON.stringify(buildDashboard(), null, 2)}\n`;
  assert.equal(committed, generated, 'run "npm run dashboards" and commit the result');
});
