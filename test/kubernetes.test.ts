import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';

const read = (file: string) => parse(readFileSync(file, 'utf8'));

test('Kubernetes gets the rules of the stack', () => {
  const groups = readdirSync('prometheus/rules')
    .sort()
    .flatMap((file) => read(`prometheus/rules/${file}`).groups);
  const { spec } = read('deploy/kubernetes/base/prometheusrule.yaml');
  assert.deepEqual(spec.groups, groups, 'run "npm run kubernetes" and commit the result');
});
