import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { eventually } from './helpers/eventually.ts';
import { assertExported, visitedApp } from './helpers/exposition.ts';
import { selectorsOf } from './helpers/promql.ts';
import { ruleFiles, rules, testFiles } from './helpers/rules.ts';

const recorded = rules.flatMap(({ record }) => record ?? []);
const alerts = rules.filter(({ alert }) => alert);

test('every recorded series is named level:metric:operations', () => {
  assert.ok(recorded.length > 0);
  for (const name of recorded) assert.match(name, /^[a-z_]+:[a-z_]+:[a-z0-9_]+$/);
});

for (const { alert, labels, annotations, keep_firing_for } of alerts) {
  const title = [alert, labels?.window].filter(Boolean).join(' over ');
  test(`${title} says what happened, how urgent it is and what to do, and does not flap`, () => {
    assert.match(alert ?? '', /^([A-Z][a-z0-9]*)+$/);
    assert.match(labels?.severity ?? '', /^(page|ticket)$/);
    assert.ok(annotations?.summary);
    assert.match(annotations?.description ?? '', /\.$/);
    assert.equal(annotations?.runbook_url, `{{ $externalURL }}/user/${alert}.md`);
    assert.ok(keep_firing_for);
    const page = readFileSync(`docs/alerts/${alert}.md`, 'utf8');
    const headings = page.match(/^#+ .*$/gm);
    assert.deepEqual(headings, [
      `# ${alert}`,
      '## Reproduce it',
      '## When RESOLVED is misleading',
      '## What to do',
    ]);
  });
}

test('every page in docs/alerts is about an alert that exists', () => {
  const pages = readdirSync('docs/alerts').map((file) => file.replace('.md', ''));
  assert.deepEqual(pages.sort(), [...new Set(alerts.map(({ alert }) => alert))].sort());
});

test('every alert has a test in which it fires, and one in which it does not', () => {
  const checks = testFiles
    .flatMap((file) => parse(readFileSync(file, 'utf8')).tests)
    .flatMap(({ alert_rule_test = [] }) => alert_rule_test);
  for (const { alert, labels } of alerts) {
    const fires = checks
      .filter(({ alertname }) => alertname === alert)
      .map(({ exp_alerts = [] }) =>
        exp_alerts.some(
          ({ exp_labels }: { exp_labels: Record<string, string> }) =>
            exp_labels.window === labels?.window,
        ),
      );
    assert.deepEqual(new Set(fires), new Set([true, false]), `${alert} ${labels?.window ?? ''}`);
  }
});

test('rules read what the application exports or another rule records', async (t) => {
  const app = await visitedApp(t);
  const selectors = rules.flatMap(({ expr }) => selectorsOf(expr));
  await eventually(async () => {
    const samples = await app.samples();
    for (const selector of selectors) {
      const { metric, matchers } = selector;
      if (recorded.includes(metric) || metric === 'up') continue;
      const series = assertExported(selector, samples);
      for (const bound of matchers.flatMap((matcher) => /^le="(.+)"/.exec(matcher)?.[1] ?? [])) {
        const bounds = new Set(series.map(({ labels }) => labels.le));
        assert.ok(bounds.has(bound), `${metric} has a bucket at ${bound}`);
      }
    }
  });
});

const promtool = {
  skip: spawnSync('promtool', ['--version']).error && 'promtool, a part of Prometheus, is missing',
};

for (const [promise, args] of [
  ['promtool finds nothing wrong with the rules', ['check', 'rules', '--lint=all', ...ruleFiles]],
  [
    'alerts fire, stay silent and resolve as prometheus/tests says',
    ['test', 'rules', ...testFiles],
  ],
] as const) {
  test(promise, promtool, () => {
    const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  });
}
