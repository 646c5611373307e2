/** Measures what monitoring costs. bench/README.md says how, and what the options are. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { regressions, toBaseline } from './baseline.ts';
import { check, measure, type Settings } from './measure.ts';
import { prepare } from './prepare.ts';
import { type Sink, startSink } from './sink.ts';
import { differences, ratios, type Summary, summarize } from './statistics.ts';
import { scrapes, type Variant, variants } from './variants.ts';

const BASELINE = new URL('./baseline.json', import.meta.url);

/** What is held against the committed ratios. */
const OURS = ['metrics', 'folder', 'errors', 'ships'];

function refuse(message: string): never {
  console.error(message);
  process.exit(1);
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        variants: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        short: { type: 'boolean' },
        'write-baseline': { type: 'boolean' },
        scrape: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    return refuse(`${(error as Error).message}. The options are in bench/README.md.`);
  }
}
const options = readOptions();

function wholeNumber(option: 'rounds' | 'seconds', fallback: number): number {
  const value = Number(options[option] ?? fallback);
  if (Number.isInteger(value) && value > 0) return value;
  return refuse(`--${option} is "${options[option]}", but takes a whole number above 0.`);
}

/** The named variants in the order of the table, with bare: it is the measure of the rest. */
function chosenVariants(fallback: string[]): Variant[] {
  const known = variants.map(({ name }) => name);
  const names = options.variants?.split(',') ?? fallback;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    refuse(`--variants has "${unknown}" in it, but takes names among ${known}.`);
  }
  return variants.filter(({ name }) => name === 'bare' || names.includes(name));
}

/** Those that serve the page and report what they claim to. The others are named, with the reason. */
async function usable(chosen: Variant[], sink: Sink): Promise<Variant[]> {
  const pages = new Map<Variant, string>();
  for (const variant of chosen) {
    try {
      const page = await check(variant, sink);
      const [barePage = page] = pages.values();
      assert.equal(page, barePage, 'its page is not the one of bare');
      pages.set(variant, page);
    } catch (error) {
      if (variant.name === 'bare') throw error;
      console.log(`Not run: ${variant.name}. ${(error as Error).message}\n`);
    }
  }
  return [...pages.keys()];
}

async function costRows(chosen: Variant[], sink: Sink, settings: Settings) {
  const results = [...(await measure(chosen, sink, settings))].map(([{ name, title }, rounds]) => ({
    ...{ name, title, rounds },
    cpu: rounds.map(({ cpuMicroseconds }) => cpuMicroseconds),
  }));
  const bare = results[0]?.cpu ?? [];
  return results.map(({ name, title, rounds, cpu }) => ({
    name,
    title,
    cpuMicroseconds: summarize(cpu),
    ratio: summarize(ratios(cpu, bare)),
    added: summarize(differences(cpu, bare)),
    requestsPerSecond: summarize(rounds.map(({ requestsPerSecond }) => requestsPerSecond)),
    cores: summarize(rounds.map(({ cores }) => cores)),
  }));
}

const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

function cell(value: string | Summary): string {
  if (typeof value === 'string') return value;
  const { median, min, max } = value;
  if (min === max) return number.format(median);
  return `${number.format(median)} (${number.format(min)} to ${number.format(max)})`;
}

/** Prints a table in Markdown, and what it was measured on. */
function print(headings: string[], rows: (string | Summary)[][], settings: Settings) {
  const line = (cells: string[]) => console.log(`| ${cells.join(' | ')} |`);
  line(headings);
  line(headings.map((_, column) => (column === 0 ? '---' : '---:')));
  for (const row of rows) line(row.map(cell));
  const { rounds, seconds, connections } = settings;
  console.log(
    `\nMedian (least to most) of ${rounds} rounds, ${seconds} seconds, ${connections} connections, ` +
      `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GB, ` +
      `${process.platform} ${process.arch}, Node.js ${process.version}, ` +
      `${new Date().toISOString().slice(0, 10)}.`,
  );
}

/** The cost of a request to each variant, held against the committed one if it is the short form. */
async function cost() {
  const short = options.short || options['write-baseline'];
  const chosen = chosenVariants(
    short ? [...OURS, 'sdk-defaults'] : variants.map(({ name }) => name),
  );
  const settings = {
    rounds: wholeNumber('rounds', 5),
    seconds: wholeNumber('seconds', short ? 2 : 10),
    connections: 64,
    warmUp: short ? 3_000 : 10_000,
  };
  prepare({ withDjango: chosen.some(({ name }) => name === 'django') });
  const sink = await startSink();
  const rows = await costRows(await usable(chosen, sink), sink, settings);
  print(
    [
      'Variant',
      'CPU µs per request',
      'x bare',
      'µs more than bare',
      'requests per second',
      'cores',
    ],
    rows.map(({ name, ...values }) => Object.values(values)),
    settings,
  );

  if (options['write-baseline']) {
    writeFileSync(BASELINE, `${JSON.stringify(toBaseline(rows, OURS), null, 2)}\n`);
  } else if (options.short) {
    const worse = regressions(rows, JSON.parse(readFileSync(BASELINE, 'utf8')));
    if (worse.length > 0) refuse(worse.join('\n'));
    console.log('No ratio is worse than the committed one by more than half in every round.');
  }
}

/** The cost of /metrics, by the number of series. */
async function scrape() {
  const settings = {
    rounds: wholeNumber('rounds', 3),
    seconds: wholeNumber('seconds', 3),
    connections: 1,
    warmUp: 10_000,
  };
  prepare({ withDjango: false });
  const results = await measure(scrapes, await startSink(), settings);
  const rows = [...results].map(([{ title }, rounds]) => [
    title,
    summarize(rounds.map(({ cpuMicroseconds }) => cpuMicroseconds / 1000)),
    summarize(rounds.map(({ requestsPerSecond }) => 1000 / requestsPerSecond)),
    summarize(rounds.map(({ bytes }) => bytes / 1000)),
  ]);
  print(['Series of one counter, besides the usual ones', 'CPU ms', 'ms', 'kB'], rows, settings);
}

await (options.scrape ? scrape() : cost());
process.exit();
