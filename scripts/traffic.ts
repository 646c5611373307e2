/**
 * Visits the application at a steady rate, so that every panel moves and, if the share of errors is
 * high enough, the alert fires. Ctrl-C stops it.
 *
 * --url     TRAFFIC_URL     the application                        http://127.0.0.1:8000
 * --rate    TRAFFIC_RATE    visits per second                      5
 * --errors  TRAFFIC_ERRORS  share of visits that end in an error   0.02
 */
import process from 'node:process';
import { parseArgs } from 'node:util';

const option = { type: 'string' } as const;
const { values } = parseArgs({ options: { url: option, rate: option, errors: option } });
const url = values.url || process.env.TRAFFIC_URL || 'http://127.0.0.1:8000';
const rate = numberFrom('rate', 5, { above: 0, upTo: 1000 });
const errors = numberFrom('errors', 0.02, { above: -1, upTo: 1 });

function numberFrom(
  name: 'rate' | 'errors',
  fallback: number,
  range: { above: number; upTo: number },
) {
  const text = values[name] || process.env[`TRAFFIC_${name.toUpperCase()}`];
  const value = text ? Number(text) : fallback;
  if (value > range.above && value <= range.upTo) return value;
  console.error(`${name} is "${text}", but must be a number up to ${range.upTo}.`);
  process.exit(1);
}

/** What visitors do when they do not run into an error: the first whose share is not used up. */
const pages: [share: number, path: () => string][] = [
  [0.7, () => '/my-view'],
  [0.2, () => '/'],
  // Few enough for the latency objective, 95% under 300 ms, to hold.
  [0.03, () => `/my-view?seconds=${(Math.random() * 2).toFixed(2)}`],
  [0.07, () => `/missing/${Math.floor(Math.random() * 1e6)}`],
];

function choosePath(): string {
  if (Math.random() < errors) return '/trigger-error/';
  let rest = Math.random();
  const page = pages.find(([share]) => {
    rest -= share;
    return rest < 0;
  });
  return page?.[1]() ?? '/my-view';
}

const answers = new Map<string, number>();

async function visit() {
  let answer = 'no answer';
  try {
    const response = await fetch(url + choosePath(), { signal: AbortSignal.timeout(15_000) });
    await response.arrayBuffer();
    answer = String(response.status);
  } catch {
    // No response, or not in time: counted as such, and the next visit tries again.
  }
  answers.set(answer, (answers.get(answer) ?? 0) + 1);
}

function report() {
  const counts = [...answers].sort().map(([answer, count]) => `${answer}: ${count}`);
  console.log(
    `${new Date().toISOString().slice(11, 19)}  ${counts.join('  ') || 'no answers yet'}`,
  );
}

// 0.07 * 100 is 7.000000000000001.
const percent = Number((errors * 100).toPrecision(12));
console.log(`${rate} visits per second to ${url}, ${percent}% of them errors. Ctrl-C stops it.`);
const visits = setInterval(visit, 1000 / rate);
const reports = setInterval(report, 5000);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    clearInterval(visits);
    clearInterval(reports);
    report();
    process.exit(0);
  });
}
