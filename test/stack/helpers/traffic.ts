import { spawn } from 'node:child_process';

/**
 * Starts scripts/traffic.ts. It ends with the test's process, or when the returned function is called.
 *
 * @param errors share of visits that end in an error
 */
export function startTraffic(url: string, errors: number): () => void {
  const traffic = spawn(process.execPath, ['--import', 'tsx', 'scripts/traffic.ts'], {
    env: { ...process.env, TRAFFIC_URL: url, TRAFFIC_RATE: '20', TRAFFIC_ERRORS: String(errors) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  traffic.unref();
  const stop = () => traffic.kill();
  process.once('exit', stop);
  return () => void stop();
}
