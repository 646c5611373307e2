import { writeFileSync } from 'node:fs';
import { prometheusRule } from './prometheus-rule.ts';

writeFileSync('deploy/kubernetes/base/prometheusrule.yaml', prometheusRule());
