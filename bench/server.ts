import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { eventually } from '../test/helpers/eventually.ts';
import { freePort } from '../test/helpers/free-port.ts';
import type { Variant } from './variants.ts';

/** A page that waits for one timer, as if for a database that answers at once. */
const PAGE = '/my-view?seconds=0';

/** Starts a variant, and waits for its first page. It exits when the benchmark does. */
export async function startServer(variant: Variant, dsn: string) {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const imports = ['./bench/cpu-usage.js', ...(variant.imports ?? [])];
  const child = fork(variant.program, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    execArgv: imports.flatMap((file) => ['--import', file]),
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Nothing else, so that no setting of this machine affects the numbers.
    env: {
      PORT: port,
      METRICS_PORT: metricsPort,
      // As in the image: without it @fastify/view and Express read templates for every page.
      NODE_ENV: 'production',
      // A log line for every request is not what is compared here.
      LOG_LEVEL: 'warn',
      SENTRY_DSN: dsn,
      ...variant.environment,
    },
  });
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });
  const closed = once(child, 'close');

  const url = `http://127.0.0.1:${port}`;
  const ready = eventually(async () => {
    const response = await fetch(url + PAGE);
    if (!response.ok) throw new Error(await response.text());
  }, 30);
  const failed = closed.then(() => {
    throw new Error(`${variant.program} has exited.\n${stderr}`);
  });
  await Promise.race([ready, failed]);

  return {
    url,
    page: url + PAGE,
    metrics: `http://127.0.0.1:${metricsPort}/metrics`,
    /** The CPU time that the process has used so far, in user and system mode. */
    async cpuMicroseconds(): Promise<number> {
      child.send('cpuUsage');
      const signal = AbortSignal.timeout(30_000);
      const [{ user, system }] = await once(child, 'message', { signal });
      return user + system;
    },
    async stop() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

export type Server = Awaited<ReturnType<typeof startServer>>;
