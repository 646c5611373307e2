import { fileURLToPath } from 'node:url';
import { run } from './processes.ts';

const AUTOCANNON = fileURLToPath(
  new URL('./node_modules/autocannon/autocannon.js', import.meta.url),
);

/** Asks for a page over and over, from a process of its own. Every answer has to be a good one. */
export async function load(
  url: string,
  how: { connections: number } & ({ seconds: number } | { requests: number }),
) {
  const report = JSON.parse(
    await run([
      process.execPath,
      AUTOCANNON,
      '--json',
      '--no-progress',
      '--timeout=30',
      `--connections=${how.connections}`,
      'seconds' in how ? `--duration=${how.seconds}` : `--amount=${how.requests}`,
      url,
    ]),
  );
  const failed = report.errors + report.timeouts + report.non2xx;
  if (failed > 0) {
    throw new Error(`${failed} of ${report.requests.total} requests to ${url} failed`);
  }
  return {
    requests: report.requests.total as number,
    seconds: report.duration as number,
    bytes: report.throughput.total as number,
  };
}
