import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { buildDashboard } from '../grafana/dashboard.ts';
import { eventually } from './helpers/eventually.ts';
import { assertExported, visitedApp } from './helpers/exposition.ts';
import { selectorsOf } from './helpers/promql.ts';
import { rules } from './helpers/rules.ts';

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  datasource?: object;
  gridPos: { x: number; y: number; w: number; h: number };
  fieldConfig: { defaults: { unit?: string } };
  options: { cellValues?: { unit?: string } };
  targets: {
    expr: string;
    datasource: object;
    exemplar?: boolean;
    instant?: boolean;
    range?: boolean;
  }[];
}

const committed = readFileSync('grafana/dashboards/application.json', 'utf8');
const dashboard = JSON.parse(committed);
// Rows are headings: they have no data.
const panels: Panel[] = dashboard.panels.filter(({ type }: Panel) => type !== 'row');
const variables: { name: string; type: string; query: string; datasource: object }[] =
  dashboard.templating.list;

const queries = [
  ...panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr }))),
  ...dashboard.annotations.list.map(
    ({ name, target }: { name: string; target: Panel['targets'][0] }) => ({
      title: name,
      expr: target.expr,
    }),
  ),
];
const selectors = () =>
  queries.flatMap(({ title, expr }) =>
    selectorsOf(expr).map((selector) => ({ title, ...selector })),
  );

const recorded = rules.flatMap(({ record }) => record ?? []);

/** Metrics that Prometheus itself makes. */
const SYNTHETIC = ['up', 'ALERTS'];

/** Metrics that are not of one instance, and why. */
const OF_NO_INSTANCE = new Map(
  recorded.map((name) => [name, 'it is recorded for a whole job'] as const),
);

test('the committed dashboard is what its source generates', () => {
  const generated = `${JSON.stringify(buildDashboard(), null, 2)}\n`;
  assert.equal(committed, generated, 'run "npm run dashboards" and commit the result');
});

test('every panel has a title, a description, a unit and a query', () => {
  assert.ok(panels.length > 0);
  assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length, 'titles differ');
  for (const { title, description, fieldConfig, targets } of panels) {
    assert.ok(title);
    assert.match(description ?? '', /\.$/, `description of ${title}`);
    assert.ok(fieldConfig.defaults.unit, `unit of ${title}`);
    assert.ok(targets.length > 0, `query of ${title}`);
  }
});

test('the points on a panel are asked for with its first query, and either all or none failed', () => {
  const withPoints = panels.filter(({ targets }) => targets.some(({ exemplar }) => exemplar));
  const kinds = withPoints.map(({ targets }) => {
    assert.deepEqual(
      targets.map(({ exemplar }) => exemplar === true),
      targets.map((_target, index) => index === 0),
    );
    return /status_code(.)~"5\.\."/.exec(targets[0]?.expr ?? '')?.[1];
  });
  assert.deepEqual(kinds.sort(), ['!', '='], 'only points of failed requests have events to link');
});

test('requests in flight are those that RequestsHang counts: one that was refused only ends', () => {
  const matchersOf = (expr = '') =>
    selectorsOf(expr)
      .filter(({ range }) => range === undefined)
      .map(({ metric, matchers }) => ({
        metric,
        matchers: matchers.filter((matcher) => !/\$(job|instance)/.test(matcher)),
      }));
  const panel = panels.find(({ title }) => title === 'Requests in flight');
  const rule = rules.find(({ alert }) => alert === 'RequestsHang');
  assert.deepEqual(matchersOf(panel?.targets[0]?.expr), matchersOf(rule?.expr));
});

test("a heatmap's cells have a unit", () => {
  for (const { type, title, options } of panels) {
    if (type === 'heatmap') assert.ok(options.cellValues?.unit, title);
  }
});

test('panels do not overlap, and fit into 24 columns', () => {
  const boxes: Panel[] = dashboard.panels;
  assert.equal(new Set(boxes.map(({ id }) => id)).size, boxes.length, 'ids differ');
  for (const [index, { title, gridPos: a }] of boxes.entries()) {
    assert.ok(a.x >= 0 && a.x + a.w <= 24, `${title} fits`);
    for (const { title: other, gridPos: b } of boxes.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(apart, `${title} and ${other} do not overlap`);
    }
  }
});

test('nobody can edit the dashboard in the browser and lose the edit', () => {
  assert.equal(dashboard.editable, false);
  for (const provider of provisioned('dashboards/application.yml').providers) {
    assert.equal(provider.allowUiUpdates, false);
  }
});

test('everything is asked of the provisioned data source, through the variable', () => {
  const { uid, type } = provisioned('datasources/prometheus.yml').datasources[0];
  const variable = dashboard.templating.list[0];
  assert.equal(variable.type, 'datasource');
  assert.equal(variable.query, type);
  assert.equal(variable.current.value, uid);
  const asked = [
    ...panels.flatMap(({ datasource, targets }) => [
      datasource,
      ...targets.map((t) => t.datasource),
    ]),
    ...variables.filter((v) => v.type === 'query').map((v) => v.datasource),
    ...dashboard.annotations.list.flatMap((a: Panel & { target: Panel['targets'][0] }) => [
      a.datasource,
      a.target.datasource,
    ]),
  ];
  for (const source of asked) assert.deepEqual(source, { type, uid: `$${variable.name}` });
});

test('every query is PromQL, and its ranges follow the zoom', () => {
  for (const { title, metric, range } of selectors()) {
    if (range) assert.equal(range, '$__rate_interval', `range of ${metric} in ${title}`);
  }
});

test('every query is for the selected job and instance', () => {
  for (const { title, metric, matchers } of selectors()) {
    // An alert on another job, or on none, is not to be missed.
    if (metric === 'ALERTS') continue;
    assert.ok(matchers.includes('job=~"$job"'), `${metric} of the job in ${title}`);
    if (OF_NO_INSTANCE.has(metric)) continue;
    assert.ok(matchers.includes('instance=~"$instance"'), `${metric} of the instance in ${title}`);
  }
  // Another job's tracker would be linked, too.
  const ofJob = variables.filter(({ name, type }) => type === 'query' && name !== 'job');
  for (const { name, query } of ofJob)
    assert.match(query, /\{job=~"\$job"\}/, `the variable ${name}`);
});

test('a point leads somewhere, also where a setting of its link is empty', () => {
  const { jsonData } = provisioned('datasources/prometheus.yml').datasources[0];
  const { environment } = parse(readFileSync('docker-compose.yml', 'utf8')).services.grafana;
  for (const { url } of jsonData.exemplarTraceIdDestinations) {
    const [, setting = ''] = /^\$(\w+)/.exec(url) ?? [];
    // ":-" and not "-": empty is as good as not set.
    assert.match(environment[setting], new RegExp(`^\\$\\{${setting}:-http`), setting);
  }
});

test('a single number is of now: what is gone is not shown', () => {
  for (const { title, type, targets } of panels.filter(({ type }) => type === 'stat')) {
    for (const { instant, range } of targets) {
      assert.ok(instant && !range, `${title}, a ${type}, asks an instant query`);
    }
  }
});

test('graphs show rates: the windows of increase() overlap, and invite to be added up', () => {
  for (const { title, expr } of queries) assert.doesNotMatch(expr, /\bincrease\(/, title);
});

test('what stands in for missing samples is drawn as the same series', () => {
  for (const { title, expr } of queries.filter(({ expr }) => / or /.test(expr))) {
    for (const { metric, aggregated } of selectorsOf(expr)) {
      assert.ok(aggregated, `${title} takes the name away from ${metric}`);
    }
  }
});

test('every query is for metrics and labels that exist, and adds up what has many series', async (t) => {
  const app = await visitedApp(t);
  await eventually(async () => {
    const samples = await app.samples();
    for (const { title, ...selector } of selectors()) {
      const { metric, aggregated } = selector;
      if (SYNTHETIC.includes(metric) || recorded.includes(metric)) continue;
      const series = assertExported(selector, samples);
      assert.ok(aggregated || series.length === 1, `${title} adds up ${metric}`);
    }
  });
});

function provisioned(file: string) {
  return parse(readFileSync(`grafana/provisioning/${file}`, 'utf8'));
}
