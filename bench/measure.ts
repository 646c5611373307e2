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

async function startVariant({ command, environment, path = PAGE }: Variant, dsn: string) {
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

/** Compilers take time and requests; the slowest servers get the time, the others the requests. */
const WARM_UP = { turns: 5, seconds: 2 };

/** Processor time and speed under load, of a server that is warm. */
export async function measure(
  server: Server,
  how: { connections: number; seconds: number; warmUp: number; path?: string },
) {
  const url = server.url + (how.path ?? PAGE);
  let rate = 0;
  for (let turn = 0, warm = 0; turn < WARM_UP.turns && warm < how.warmUp; turn++) {
    const { requests, seconds } = await load(url, { ...how, seconds: WARM_UP.seconds });
    warm += requests;
    rate = requests / seconds;
  }
  const before = server.cpuSeconds();
  // A number and not a time: at its end a time cuts off requests that have cost and are not counted.
  const { requests, seconds, bytes } = await load(url, {
    connections: how.connections,
    requests: Math.max(how.connections, Math.round(rate * how.seconds)),
  });
  const cpuSeconds = server.cpuSeconds() - before;
  return {
    cpuMicroseconds: (cpuSeconds / requests) * 1e6,
    cores: cpuSeconds / seconds,
    requestsPerSecond: requests / seconds,
    bytes: bytes / requests,
  };
}
