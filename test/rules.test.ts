import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { assertExported, visitedApp } from './helpers/exposition.ts';
import { selectorsOf } from './helpers/promql.ts';
import {
  type Alert,
  alerts,
  alertTests,
  groupsIn,
  ruleFiles,
  rules,
  testFiles,
  testSettings,
} from './helpers/rules.ts';

/** Tells alerts of the same name apart. */
const title = ({ alert, labels }: Alert) => [alert, labels?.window].filter(Boolean).join(' ');

test('every alert has a name in CamelCase, a severity, a summary and a description', () => {
  assert.ok(alerts.length > 0);
  assert.equal(new Set(alerts.map(title)).size, alerts.length, 'no two alerts are the same');
  for (const alert of alerts) {
    assert.match(alert.alert, /^([A-Z][a-z0-9]*)+$/);
    assert.match(alert.labels?.severity ?? '', /^(page|ticket)$/, `severity of ${title(alert)}`);
    assert.ok(alert.annotations?.summary, `summary of ${title(alert)}`);
    assert.match(alert.annotations?.description ?? '', /\.$/, `description of ${title(alert)}`);
  }
});

test('every alert has a page in docs/alerts, and every page an alert', () => {
  for (const { alert, annotations } of alerts) {
    const path = `docs/alerts/${alert}.md`;
    // Prometheus puts the address of the repository in front, where it is set.
    assert.equal(annotations?.runbook_url, `{{ $externalLabels.repository }}${path}`);
    assert.ok(existsSync(path), `${path} exists`);
    const page = readFileSync(path, 'utf8');
    assert.ok(page.startsWith(`# ${alert}\n`), `${path} is about ${alert}`);
    for (const section of ['## Reproduce it', '## A wrong RESOLVED', '## What to do']) {
      assert.ok(page.includes(`\n${section}\n`), `${path} has "${section}"`);
    }
    for (const [, link = ''] of page.matchAll(/\]\((\w+\.md)\)/g)) {
      assert.ok(existsSync(`docs/alerts/${link}`), `${path} links to ${link}`);
    }
  }
  const pages = readdirSync('docs/alerts').map((file) => file.replace('.md', ''));
  assert.deepEqual(pages, [...new Set(alerts.map(({ alert }) => alert))].sort());
});

test('every alert is tested: silent, firing, resolved', () => {
  for (const alert of alerts) {
    const checks = alertTests
      .filter(({ alertname }) => alertname === alert.alert)
      .map((check) => ({
        ...check,
        fires: check.expected.some(({ exp_labels }) =>
          Object.entries(alert.labels ?? {}).every(([name, value]) => exp_labels[name] === value),
        ),
      }));
    const story = checks
      .filter(({ fires }) => fires)
      .some((firing) => {
        const quiet = checks.filter(({ test, fires }) => test === firing.test && !fires);
        return (
          quiet.some(({ seconds }) => seconds < firing.seconds) &&
          quiet.some(({ seconds }) => seconds > firing.seconds)
        );
      });
    assert.ok(story, `prometheus/tests has no test in which ${title(alert)} fires and resolves`);
  }
});

test('every alert waits before it is resolved: one that comes and goes is one mail', () => {
  for (const alert of alerts)
    assert.ok(alert.keep_firing_for, `keep_firing_for of ${title(alert)}`);
});

test('groups have names of their own, and every test says in which order they are evaluated', () => {
  const names = ruleFiles.flatMap(groupsIn);
  assert.deepEqual(names, [...new Set(names)]);
  for (const { file, rule_files, group_eval_order } of testSettings) {
    const used = rule_files.flatMap((path) => groupsIn(join(dirname(file), path)));
    assert.deepEqual(group_eval_order?.toSorted(), used.sort(), file);
  }
});

test('every recorded series is named level:metric:operations', () => {
  const recorded = rules.flatMap(({ record }) => record ?? []);
  assert.ok(recorded.length > 0);
  for (const name of recorded) assert.match(name, /^[a-z_]+:[a-z_]+:[a-z0-9_]+$/);
});

test('rules read what the application exports or another rule records', async (t) => {
  const app = await visitedApp(t);
  const recorded = rules.flatMap(({ record }) => record ?? []);
  const selectors = rules.flatMap(({ expr }) => selectorsOf(expr));
  await eventually(async () => {
    const samples = await app.samples();
    for (const selector of selectors) {
      const { metric, matchers } = selector;
      // The latter is what Prometheus says of itself.
      if (recorded.includes(metric) || /^(up$|prometheus_)/.test(metric)) continue;
      const series = assertExported(selector, samples);
      for (const bound of matchers.flatMap((matcher) => /^le="(.+)"/.exec(matcher)?.[1] ?? [])) {
        const bounds = new Set(series.map(({ labels }) => labels.le));
        assert.ok(bounds.has(bound), `${metric} has a bucket at ${bound}`);
      }
    }
  });
});

const promtool = spawnSync('promtool', ['--version']).error
  ? { skip: 'promtool, which comes with Prometheus, is not installed' }
  : {};

test('promtool finds nothing wrong with the rules', promtool, () => {
  runPromtool('check', 'rules', '--lint=all', ...ruleFiles);
});

test('alerts fire, stay silent and resolve as prometheus/tests says', promtool, () => {
  runPromtool('test', 'rules', ...testFiles);
});

function runPromtool(...args: string[]) {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}\n${stderr}`);
}
