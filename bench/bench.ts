/** Measures what monitoring costs. bench/README.md says how, and how to read the table. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { check, measure } from './measure.ts';
import { startSink } from './sink.ts';
import { ratios, type Summary, summarize } from './statistics.ts';
import { type Variant, variants } from './variants.ts';

function refuse(message: string): never {
  console.error(message);
  process.exit(1);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        variants: { type: 'string', default: variants.map(({ name }) => name).join() },
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '10' },
        json: { type: 'string' },
      },
    }).values;
  } catch (error) {
    return refuse(`${(error as Error).message}. The options are in bench/README.md.`);
  }
}

function wholeNumber(option: 'rounds' | 'seconds'): number {
  const value = Number(options[option]);
  if (Number.isInteger(value) && value > 0) return value;
  return refuse(`--${option} is "${options[option]}", but must be a whole number above 0.`);
}

/** The named variants in the order of the table, with bare, the baseline. */
function chosenVariants(): Variant[] {
  const known = variants.map(({ name }) => name);
  const names = options.variants.split(',');
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    refuse(`--variants contains "${unknown}", but must be some of ${known}.`);
  }
  return variants.filter(({ name }) => name === 'bare' || names.includes(name));
}

const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

function cell({ median, min, max }: Summary): string {
  if (min === max) return number.format(median);
  return `${number.format(median)} (${number.format(min)} to ${number.format(max)})`;
}

const options = readOptions();
const rounds = wholeNumber('rounds');
const seconds = wholeNumber('seconds');
const chosen = chosenVariants();

const sink = await startSink();
let barePage: string | undefined;
for (const variant of chosen) {
  const page = await check(variant, sink);
  barePage ??= page;
  assert.equal(page, barePage, `${variant.name} serves the page of bare`);
}

const results = [...(await measure(chosen, sink, rounds, seconds))];
const bare = results[0]?.[1] ?? [];
const rows = results.map(([{ name, title }, microseconds]) => ({
  name,
  title,
  ratio: summarize(ratios(microseconds, bare)),
  microseconds: summarize(microseconds),
}));

console.log('| Variant | | x bare | CPU µs per request |\n| --- | --- | ---: | ---: |');
for (const { name, title, ratio, microseconds } of rows) {
  console.log(`| ${name} | ${title} | ${cell(ratio)} | ${cell(microseconds)} |`);
}
console.log(
  `\nMedian (minimum to maximum) of ${rounds} rounds, ${seconds} seconds, ` +
    `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ` +
    `${process.platform} ${process.arch}, Node.js ${process.version}, ` +
    `${new Date().toISOString().slice(0, 10)}.`,
);
if (options.json) {
  const table = rows.map(({ name, ratio, microseconds }) => ({ name, ratio, microseconds }));
  writeFileSync(options.json, `${JSON.stringify({ rows: table }, null, 2)}\n`);
}
// The sink still listens.
process.exit();
