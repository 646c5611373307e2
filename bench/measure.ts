import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from '../test/helpers/eventually.ts';
import { type Server, startServer } from './server.ts';
import type { Sink } from './sink.ts';
import { rotate } from './statistics.ts';
import type { Variant } from './variants.ts';

/** What an error and a trace look like in an envelope, and the page in the metrics. */
const PROOFS = {
  error: /^\{.*"type":"event".*\}\n.*division by zero/im,
  trace: /^\{.*"type":"(transaction|span)".*\}\n.*my-view/im,
  metrics: /^http_request_duration_seconds_count\{.*endpoint="\/my-view".*\} [1-9]/m,
};

/** Shows that a variant does what it claims to do, and resolves to the text of its page. */
export async function check(variant: Variant, sink: Sink): Promise<string> {
  const { dsn, envelopes } = sink.project();
  const server = await startServer(variant, dsn);
  try {
    const page = await textOf(server.page);
    const { status } = await fetch(`${server.url}/trigger-error/`);
    assert.equal(status, 500, `${variant.name} answers /trigger-error/ with a 500`);
    for (const claim of variant.claims) {
      await eventually(async () => {
        const texts = claim === 'metrics' ? [await textOf(server.metrics)] : envelopes;
        const isShown = texts.some((text) => PROOFS[claim].test(text));
        assert.ok(isShown, `${variant.name} claims "${claim}", but none arrived`);
      }, 15);
    }
    // The address of the application's stylesheet has its version.
    return page
      .replace(/(?<=style\.css)\?v=\w+/, '')
      .replaceAll(/\s+/g, ' ')
      .trim();
  } finally {
    await server.stop();
  }
}

async function textOf(url: string): Promise<string> {
  return (await fetch(url)).text();
}

/** How long a server is under load, in seconds, before it is another one's turn. */
const TURN = 2;
/** How long it is warmed up before it is measured, until its code is compiled. */
const WARM_UP = 5;

/**
 * Loads all variants in turn, with new servers in each round: what slows the machine down for
 * longer than a turn slows all of them. Resolves to the microseconds of CPU time per request, of
 * each variant in each round.
 */
export async function measure(variants: Variant[], sink: Sink, rounds: number, seconds: number) {
  const results = new Map<Variant, number[]>(variants.map((variant) => [variant, []]));
  for (let round = 0; round < rounds; round++) {
    const runners: Runner[] = [];
    try {
      for (const variant of rotate(variants, round)) {
        const server = await startServer(variant, sink.project().dsn);
        const runner = { variant, server, rate: 0, microseconds: 0, requests: 0 };
        runners.push(runner);
        runner.rate = (await load(server, `--duration=${WARM_UP}`)) / WARM_UP;
      }
      for (let turn = 0; turn * TURN < seconds; turn++) {
        for (const runner of rotate(runners, turn)) await takeTurn(runner);
      }
    } finally {
      await Promise.all(runners.map(({ server }) => server.stop()));
    }
    for (const { variant, microseconds, requests } of runners) {
      results.get(variant)?.push(microseconds / requests);
    }
    console.error(`Round ${round + 1} of ${rounds} is done.`);
  }
  return results;
}

interface Runner {
  variant: Variant;
  server: Server;
  /** Requests per second when it was warm. */
  rate: number;
  microseconds: number;
  requests: number;
}

/**
 * A turn has a fixed number of requests: a fixed time would cut off some that cost CPU time but
 * aren't counted.
 */
async function takeTurn(runner: Runner) {
  const { server, rate } = runner;
  const before = await server.cpuMicroseconds();
  const amount = Math.max(CONNECTIONS, Math.round(rate * TURN));
  runner.requests += await load(server, `--amount=${amount}`);
  runner.microseconds += (await server.cpuMicroseconds()) - before;
}

/** Enough to keep a server busy: one that waits costs more for each request. */
const CONNECTIONS = 64;
const AUTOCANNON = fileURLToPath(import.meta.resolve('autocannon'));

/** Requests the page over and over, from a process of its own, and resolves to the number of requests. */
async function load({ page }: Server, until: `--${'duration' | 'amount'}=${number}`) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...[AUTOCANNON, '--json', '--no-progress', '--timeout=30'],
    ...[`--connections=${CONNECTIONS}`, until, page],
  ]);
  const { requests, errors, timeouts, non2xx } = JSON.parse(stdout);
  const failed = errors + timeouts + non2xx;
  if (failed > 0) throw new Error(`${failed} of ${requests.total} requests to ${page} failed.`);
  return requests.total as number;
}
