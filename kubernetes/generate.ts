import { writeFileSync } from 'node:fs';
import { prometheusRule } from './prometheus-rule.ts';

writeFileSync('kubernetes/base/prometheusrule.yaml', prometheusRule());
