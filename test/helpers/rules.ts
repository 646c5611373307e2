import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  keep_firing_for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

const filesIn = (folder: string) => readdirSync(folder).map((file) => `${folder}/${file}`);

export const ruleFiles = filesIn('prometheus/rules');
export const testFiles = filesIn('prometheus/tests');

export const rules: Rule[] = ruleFiles
  .flatMap((file) => parse(readFileSync(file, 'utf8')).groups)
  .flatMap(({ rules }) => rules);
