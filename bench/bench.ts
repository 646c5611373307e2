/**
 * Measures what monitoring costs. bench/README.md says how; Ctrl-C ends it.
 *
 * npm run bench                     the cost of a request
 * npm run bench -- startup memory   other sections, or `all` of them
 * npm run bench -- --short          in minutes, held against bench/baseline.json
 * npm run bench -- --write-baseline the same, and writes the baseline
 * npm run bench -- --markdown       the tables of the last run
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { regressions, toBaseline } from './baseline.ts';
import { check } from './measure.ts';
import { prepare } from './prepare.ts';
import { machine, markdown, type Result } from './report.ts';
import { type Section, sections } from './sections.ts';
import { type Sink, startSink } from './server.ts';
import { readSettings } from './settings.ts';
import { type Variant, variants } from './variants.ts';

const RESULTS = new URL('./results.json', import.meta.url);
const BASELINE = new URL('./baseline.json', import.meta.url);

const SHORT = {
  rounds: 5,
  seconds: 2,
  warmUp: 3000,
  variants: ['bare', 'metrics', 'errors', 'ships', 'sdk-defaults'],
};

const OURS = variants.filter(({ ours }) => ours).map(({ name }) => name);

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean' },
    'write-baseline': { type: 'boolean' },
    markdown: { type: 'boolean' },
  },
});
const short = options.short || options['write-baseline'];

const readJson = (url: URL) => (existsSync(url) ? JSON.parse(readFileSync(url, 'utf8')) : {});
const writeJson = (url: URL, value: unknown) =>
  writeFileSync(url, `${JSON.stringify(value, null, 2)}\n`);

function chosenSections(): [string, Section][] {
  const all = Object.entries(sections);
  if (positionals.includes('all')) return all;
  const names = positionals.length > 0 ? positionals : ['cost'];
  const unknown = names.filter((name) => !sections[name]);
  if (unknown.length === 0) return all.filter(([name]) => names.includes(name));
  console.error(`There is no section ${unknown}, only all, ${Object.keys(sections).join(', ')}.`);
  process.exit(1);
}

function printMarkdown() {
  const results: Record<string, Result> = readJson(RESULTS);
  for (const [name, section] of Object.entries(sections)) {
    if (results[name]) console.log(markdown(section, results[name]));
  }
}

const begin = performance.now();
function progress(...columns: string[]) {
  const elapsed = Math.round((performance.now() - begin) / 1000);
  const clock = `${Math.floor(elapsed / 60)}:${String(elapsed % 60).padStart(2, '0')}`;
  console.error([clock.padStart(6), ...columns.map((column) => column.padEnd(18))].join('  '));
}

/** Leaves out, by name and with the reason, what does not serve the page or report what it claims. */
async function usable(chosen: Variant[], sink: Sink, notRun: Record<string, string>) {
  let barePage: string | undefined;
  const list: Variant[] = [];
  for (const variant of chosen) {
    try {
      const page = await check(variant, sink);
      barePage ??= page;
      assert.equal(page, barePage, 'its page is not the one of bare');
      list.push(variant);
      const reports = variant.reports.map((report) => `, one ${report} delivered`).join('');
      progress('check', variant.name, `the page${reports}`);
    } catch (error) {
      if (variant.name === 'bare') throw error;
      notRun[variant.name] = (error as Error).message;
      progress('check', variant.name, `not run: ${notRun[variant.name]}`);
    }
  }
  return list;
}

async function run(name: string, section: Section, sink: Sink): Promise<Result> {
  const settings = readSettings(short ? SHORT : section.defaults);
  const notRun: Record<string, string> = {};
  if (section.defaults.variants) settings.variants = await usable(settings.variants, sink, notRun);

  const rows = await section.measure({
    settings,
    sink,
    notRun,
    progress: (...columns) => progress(name, ...columns),
  });
  const conditions = Object.fromEntries(section.conditions.map((key) => [key, settings[key]]));
  return { date: new Date().toISOString(), machine: machine(), conditions, rows, notRun };
}

/** Prints what is worse than committed, and makes the benchmark fail if anything is. */
function compare({ rows }: Result) {
  const worse = regressions(rows, readJson(BASELINE));
  for (const line of worse) console.error(line);
  if (worse.length === 0)
    console.error('No ratio is worse than the committed one by more than half.');
  process.exitCode = worse.length === 0 ? 0 : 1;
}

async function main() {
  if (options.markdown) return printMarkdown();
  const chosen = chosenSections();
  const withDjango =
    !short && chosen.some(([, { defaults }]) => defaults.variants?.includes('django'));
  prepare({ withDjango });

  const sink = await startSink();
  for (const [name, section] of chosen) {
    const result = await run(name, section, sink);
    console.log(markdown(section, result));
    if (!short) writeJson(RESULTS, { ...readJson(RESULTS), [name]: result });
    else if (options['write-baseline']) writeJson(BASELINE, toBaseline(result.rows, OURS));
    else compare(result);
  }
}

await main();
process.exit();
