import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from '../test/helpers/eventually.ts';
import { type Server, startServer } from './server.ts';
import type { Sink } from './sink.ts';
import { rotate } from './statistics.ts';
import type { Variant } from './variants.ts';

/** The item of an envelope that shows that what a variant claims to report has arrived. */
const PROOFS = {
  error: /^\{.*"type": ?"event".*\}\n.*division by zero/im,
  trace: /^\{.*"type": ?"(transaction|span)".*\}\n.*my-view/im,
};

/** Shows that a variant reports what it claims to, and resolves to the text of its page. */
export async function check(variant: Variant, sink: Sink): Promise<string> {
  const { dsn, envelopes } = sink.project();
  const { url, stop } = await startServer(variant, dsn);
  try {
    const page = await (await fetch(url + variant.path)).text();
    const { status } = await fetch(`${url}/trigger-error/`);
    assert.equal(status, 500, 'the error page');
    for (const claim of variant.reports) {
      const arrived = () => envelopes.some((envelope) => PROOFS[claim].test(envelope));
      await eventually(() => assert.ok(arrived(), `no ${claim} arrived at the tracker`), 15);
    }
    // The address of the application's stylesheet has its version.
    return page
      .replace(/(?<=style\.css)\?v=\w+/, '')
      .replaceAll(/\s+/g, ' ')
      .trim();
  } finally {
    await stop();
  }
}

export interface Settings {
  rounds: number;
  /** How long each variant is loaded in a round. */
  seconds: number;
  connections: number;
  /** Requests after which a server counts as warm. */
  warmUp: number;
}

/** What a variant did in one round. */
export interface Measurement {
  cpuMicroseconds: number;
  requestsPerSecond: number;
  /** About 1 if the server was saturated, which a single thread of JavaScript is at one core. */
  cores: number;
  bytes: number;
}

/** Seconds that a server is loaded before it is another one's turn. */
const TURN = 2;

/**
 * Loads all variants by turns, in each round with servers started for it alone: what slows the
 * machine for longer than a turn slows all of them. Resolves to each variant's rounds.
 */
export async function measure(variants: Variant[], sink: Sink, settings: Settings) {
  const { rounds, seconds, connections } = settings;
  const results = new Map<Variant, Measurement[]>(variants.map((variant) => [variant, []]));
  for (let round = 0; round < rounds; round++) {
    const runners: { variant: Variant; server: Server; rate: number; turns: Turn[] }[] = [];
    try {
      for (const variant of rotate(variants, round)) {
        const server = await startServer(variant, sink.project().dsn);
        const runner = { variant, server, rate: 0, turns: [] };
        runners.push(runner);
        runner.rate = await warmUp(server, variant.path, settings);
      }
      for (let turn = 0; turn * TURN < seconds; turn++) {
        for (const { variant, server, rate, turns } of rotate(runners, turn)) {
          turns.push(await takeTurn(server, variant.path, connections, rate * TURN));
        }
      }
    } finally {
      await Promise.all(runners.map(({ server }) => server.stop()));
    }
    for (const { variant, turns } of runners) {
      const result = perRequest(turns);
      results.get(variant)?.push(result);
      console.error(
        `round ${round + 1} of ${rounds}: ${variant.name}, ${Math.round(result.cpuMicroseconds)} µs`,
      );
    }
  }
  return results;
}

/** Compilers take time and requests; the slowest servers get the time, the others the requests. */
const WARM_UP_TURNS = 5;

/** Loads a server until it is warm, and resolves to the requests that it answers in a second. */
async function warmUp({ url }: Server, path: string, { connections, warmUp }: Settings) {
  let rate = 0;
  for (let turn = 0, warm = 0; turn < WARM_UP_TURNS && warm < warmUp; turn++) {
    const { requests, seconds } = await load(url + path, connections, `--duration=${TURN}`);
    warm += requests;
    rate = requests / seconds;
  }
  return rate;
}

type Turn = Awaited<ReturnType<typeof takeTurn>>;

/**
 * Processor time and speed of a server under load. It gets a number of requests and not a time: at
 * its end a time cuts off requests that have cost and are not counted.
 */
async function takeTurn(server: Server, path: string, connections: number, requests: number) {
  const before = server.cpuSeconds();
  const amount = Math.max(connections, Math.round(requests));
  const result = await load(server.url + path, connections, `--amount=${amount}`);
  return { ...result, cpuSeconds: server.cpuSeconds() - before };
}

/** The turns of one server as one measurement. */
function perRequest(turns: Turn[]): Measurement {
  const sum = (key: keyof Turn) => turns.reduce((total, turn) => total + turn[key], 0);
  return {
    cpuMicroseconds: (sum('cpuSeconds') / sum('requests')) * 1e6,
    requestsPerSecond: sum('requests') / sum('seconds'),
    cores: sum('cpuSeconds') / sum('seconds'),
    bytes: sum('bytes') / sum('requests'),
  };
}

const AUTOCANNON = fileURLToPath(
  new URL('./node_modules/autocannon/autocannon.js', import.meta.url),
);

/** Asks for a page over and over, from a process of its own. Every answer has to be a good one. */
async function load(
  url: string,
  connections: number,
  until: `--${'duration' | 'amount'}=${number}`,
) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[AUTOCANNON, '--json', '--no-progress', '--timeout=30'],
    ...[`--connections=${connections}`, until, url],
  ]);
  const { requests, duration, throughput, errors, timeouts, non2xx } = JSON.parse(stdout);
  const failed = errors + timeouts + non2xx;
  if (failed > 0) throw new Error(`${failed} of ${requests.total} requests to ${url} failed`);
  return {
    requests: requests.total as number,
    seconds: duration as number,
    bytes: throughput.total as number,
  };
}
