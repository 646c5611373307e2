import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { dashboard, type Panel, panels, selectorsOf } from './helpers/promql.ts';
import { rules } from './helpers/rules.ts';

const provisioned = (file: string) => parse(readFileSync(`grafana/provisioning/${file}`, 'utf8'));

/** Recorded series are of a whole job. */
const recorded = rules.flatMap(({ record }) => record ?? []);

for (const panel of panels) {
  test(`panel "${panel.title}" follows the conventions`, () => {
    const { type, description, fieldConfig, targets } = panel;
    assert.match(description, /\.$/);
    assert.ok(fieldConfig.defaults.unit, 'has a unit');
    assert.ok(targets.length > 0, 'has a query');
    // Grafana asks for the exemplars of the first query only.
    assert.ok(targets.slice(1).every(({ exemplar }) => !exemplar));
    for (const { expr, instant = false } of targets) {
      // A single number over a range would include replicas that are gone.
      assert.equal(instant, type === 'stat', 'a single number is an instant query');
      for (const { metric, matchers, range } of selectorsOf(expr)) {
        if (range) assert.equal(range, '$__rate_interval', `range of ${metric}`);
        // An alert of another job, or of none, must not be missed.
        if (metric === 'ALERTS') continue;
        assert.ok(matchers.includes('job=~"$job"'), `job of ${metric}`);
        if (recorded.includes(metric)) continue;
        assert.ok(matchers.includes('instance=~"$instance"'), `instance of ${metric}`);
      }
    }
  });
}

test('panels have ids of their own, do not overlap, and fit into 24 columns', () => {
  const all: Panel[] = dashboard.panels;
  assert.equal(new Set(all.map(({ id }) => id)).size, all.length);
  for (const [index, { title, gridPos: a }] of all.entries()) {
    assert.ok(a.x >= 0 && a.x + a.w <= 24, `${title} fits`);
    for (const { title: other, gridPos: b } of all.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(apart, `${title} and ${other} do not overlap`);
    }
  }
});

test('the line on a panel is where its alert fires', () => {
  const lines = {
    'Error ratio': 'HighErrorRatio',
    'Response time': 'HighLatency',
    'Response time by endpoint (p95)': 'HighLatency',
    'Active users': 'ManyActiveUsers',
  };
  const drawn = panels.filter(
    ({ type, fieldConfig }) => type === 'timeseries' && fieldConfig.defaults.thresholds,
  );
  assert.deepEqual(drawn.map(({ title }) => title).sort(), Object.keys(lines).sort());
  for (const [title, name] of Object.entries(lines)) {
    const { thresholds } = drawn.find((panel) => panel.title === title)?.fieldConfig.defaults ?? {};
    const expr = rules.find(({ alert }) => alert === name)?.expr ?? '';
    assert.equal(thresholds?.steps[1]?.value, Number(/ > ([\d.]+)$/m.exec(expr)?.[1]), title);
  }
});

test('everything queries the provisioned data source, through the variable', () => {
  const { uid, type } = provisioned('datasources/prometheus.yml').datasources[0];
  const [variable] = dashboard.templating.list;
  assert.deepEqual([variable.type, variable.query], ['datasource', type]);
  assert.equal(variable.current.value, uid);
  let found = 0;
  JSON.stringify(dashboard, (key, value) => {
    if (key === 'datasource') found += 1;
    if (key === 'datasource') assert.deepEqual(value, { type, uid: `$${variable.name}` });
    return value;
  });
  assert.ok(found >= 2 * panels.length, 'panels and queries name it');
});

test('nobody can edit the dashboard in the browser and lose the edit', () => {
  assert.equal(dashboard.editable, false);
  const [provider] = provisioned('dashboards/application.yml').providers;
  assert.equal(provider.allowUiUpdates, false);
});
