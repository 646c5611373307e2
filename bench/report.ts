import { arch, cpus, platform, totalmem } from 'node:os';
import type { Row, Section } from './sections.ts';
import type { Summary } from './statistics.ts';

/** One section as bench/results.json has it. */
export interface Result {
  date: string;
  machine: ReturnType<typeof machine>;
  conditions: Record<string, number>;
  rows: Row[];
  notRun: Record<string, string>;
}

export function machine() {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    cores: processors.length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    platform: `${platform()} ${arch()}`,
    node: process.version,
  };
}

const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const count = new Intl.NumberFormat('en');

function cell(value: string | number | Summary | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  if (typeof value === 'number') {
    return Number.isInteger(value) ? count.format(value) : number.format(value);
  }
  const { median, min, max } = value;
  if (min === max) return number.format(median);
  return `${number.format(median)} (${number.format(min)} to ${number.format(max)})`;
}

/** A section as Markdown: its table, and what it was measured on. */
export function markdown(
  { title, columns }: Section,
  { date, machine, conditions, rows, notRun }: Result,
) {
  const keys = Object.keys(columns);
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [
    `### ${title}`,
    '',
    line(Object.values(columns)),
    line(keys.map((key) => (key === 'title' ? '---' : '---:'))),
    ...rows.map((row) => line(keys.map((key) => cell(row[key])))),
    '',
    `${'rounds' in conditions ? 'Median (least to most) of ' : ''}${[
      ...Object.entries(conditions).map(([name, value]) => `${count.format(value)} ${name}`),
      machine.cpu,
      `${machine.cores} cores`,
      `${machine.memoryGigabytes} GB`,
      machine.platform,
      `Node.js ${machine.node}`,
      date.slice(0, 10),
    ].join(', ')}.`,
    ...Object.entries(notRun).map(([name, reason]) => `Not run: ${name}. ${reason}`),
    '',
  ].join('\n');
}
