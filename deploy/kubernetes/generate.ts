/** Writes prometheus/rules as one object for the Prometheus Operator. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';

const groups = readdirSync('prometheus/rules')
  .sort()
  .flatMap((file) => parse(readFileSync(`prometheus/rules/${file}`, 'utf8')).groups);
const rule = {
  apiVersion: 'monitoring.coreos.com/v1',
  kind: 'PrometheusRule',
  metadata: { name: 'app' },
  spec: { groups },
};
const heading =
  '# Generated from prometheus/rules by `npm run kubernetes`. Change the rules there.\n';
writeFileSync(
  'deploy/kubernetes/base/prometheusrule.yaml',
  heading + stringify(rule, { lineWidth: 0 }),
);
