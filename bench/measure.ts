import assert from 'node:assert/strict';
import { eventually } from '../test/helpers/eventually.ts';
import { freePort } from '../test/helpers/free-port.ts';
import { load } from './load.ts';
import { type Server, type Sink, startServer } from './server.ts';
import type { Variant } from './variants.ts';

/** The page that is measured. It waits for a timer, as for a database that answers at once. */
export const PAGE = '/my-view?seconds=0';

/** How a variant proves that something it claims to report has arrived. */
const PROOFS = {
  error: { types: ['event'], words: /division by zero/i },
  trace: { types: ['transaction', 'span'], words: /my-view/ },
};

/** Starts a variant, and waits until it answers. Who starts it stops it. */
export async function startVariant({ command, environment, path = PAGE }: Variant, dsn: string) {
  return startServer({
    command,
    environment: {
      HOST: '127.0.0.1',
      METRICS_PORT: await freePort(),
      // As in the image: without it Fastify's view plugin and Express read templates for every page.
      NODE_ENV: 'production',
      // A line of log for every request is not what is compared here.
      LOG_LEVEL: 'warn',
      SENTRY_DSN: dsn,
      ...environment,
    },
    path,
  });
}

/** Runs a variant for as long as `measurement` takes. */
export async function withVariant<T>(
  variant: Variant,
  dsn: string,
  measurement: (server: Server) => Promise<T>,
): Promise<T> {
  const server = await startVariant(variant, dsn);
  try {
    return await measurement(server);
  } finally {
    await server.stop();
  }
}

/** Shows that a variant reports what it claims to, and resolves to the text of its page. */
export async function check(variant: Variant, sink: Sink): Promise<string> {
  const project = sink.project();
  return withVariant(variant, project.dsn, async ({ url }) => {
    const page = await (await fetch(url + PAGE)).text();
    const { status } = await fetch(`${url}/trigger-error/`);
    assert.equal(status, 500, 'the error page');

    for (const claim of variant.reports) {
      const { types, words } = PROOFS[claim];
      await eventually(async () => {
        const proof = (await project.items()).find(
          ({ type, payload }) => types.includes(type) && words.test(payload),
        );
        assert.ok(proof, `no ${claim} of ${variant.name} arrived at the tracker`);
      }, 15);
    }
    return page.replaceAll(/\s+/g, ' ').trim();
  });
}

export interface Load {
  connections: number;
  /** Requests after which a server counts as warm. */
  warmUp: number;
  path?: string;
}

/** Compilers take time and requests; the slowest servers get the time, the others the requests. */
const WARM_UP = { turns: 5, seconds: 2 };

/** Loads a server until it is warm, and resolves to the requests that it answers in a second. */
export async function warmUp(
  { url }: Server,
  { connections, warmUp, path = PAGE }: Load,
): Promise<number> {
  let rate = 0;
  for (let turn = 0, warm = 0; turn < WARM_UP.turns && warm < warmUp; turn++) {
    const { requests, seconds } = await load(url + path, { connections, seconds: WARM_UP.seconds });
    warm += requests;
    rate = requests / seconds;
  }
  return rate;
}

/**
 * Processor time and speed of a server under load. It gets a number of requests and not a time: at
 * its end a time cuts off requests that have cost and are not counted.
 */
export async function turn(server: Server, { connections, path = PAGE }: Load, requests: number) {
  const before = server.cpuSeconds();
  const count = Math.max(connections, Math.round(requests));
  const result = await load(server.url + path, { connections, requests: count });
  return { ...result, cpuSeconds: server.cpuSeconds() - before };
}

/** Several turns of one server as one measurement. */
export function perRequest(turns: Awaited<ReturnType<typeof turn>>[]) {
  const sum = (key: keyof (typeof turns)[number]) =>
    turns.reduce((total, turn) => total + turn[key], 0);
  return {
    cpuMicroseconds: (sum('cpuSeconds') / sum('requests')) * 1e6,
    // About 1 if the server was saturated, which a single thread of JavaScript is at one core.
    cores: sum('cpuSeconds') / sum('seconds'),
    requestsPerSecond: sum('requests') / sum('seconds'),
    bytes: sum('bytes') / sum('requests'),
  };
}
