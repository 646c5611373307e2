import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Starts scripts/traffic.ts. It ends with the test's process, or when the returned function is called.
 *
 * @param rate visits per second
 * @param errors share of visits that end in an error
 */
export function startTraffic(url: string, { rate, errors }: { rate: number; errors: number }) {
  const traffic = spawn(process.execPath, ['--import', 'tsx', 'scripts/traffic.ts'], {
    env: {
      ...process.env,
      TRAFFIC_URL: url,
      TRAFFIC_RATE: String(rate),
      TRAFFIC_ERRORS: String(errors),
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  traffic.unref();
  process.once('exit', () => traffic.kill());
  return async () => {
    traffic.ref();
    const exit = once(traffic, 'exit');
    traffic.kill();
    await exit;
  };
}

/** Counts the seconds down that several tests may wait for the same traffic; a few are left to each. */
export function patienceOf(seconds: number): () => number {
  const end = Date.now() + seconds * 1000;
  return () => Math.max((end - Date.now()) / 1000, 5);
}
