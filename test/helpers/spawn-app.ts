import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

export interface LogLine {
  level: number;
  msg: string;
  [key: string]: unknown;
}

/**
 * Starts the built application as `npm start` does, on free ports, and waits until it listens.
 * It is killed when the test ends.
 */
export async function spawnApp(
  t: TestContext,
  environment: Record<string, string> = {},
  server = 'dist/server.js',
) {
  const child = spawnServer({ PORT: '0', METRICS_PORT: '0', ...environment }, server);
  t.after(() => child.kill('SIGKILL'));

  const log: LogLine[] = [];
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });

  const addresses = await new Promise<{ url: string; metricsUrl: string }>((resolve, reject) => {
    let url: string | undefined;
    let metricsUrl: string | undefined;
    child.once('exit', (code) => reject(new Error(`the server exited with ${code}: ${stderr}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry: LogLine = JSON.parse(line);
      log.push(entry);
      url ??= /Server listening at (\S+)/.exec(entry.msg)?.[1];
      metricsUrl ??= /Metrics at (\S+)/.exec(entry.msg)?.[1];
      if (url && metricsUrl) resolve({ url, metricsUrl });
    });
  });

  return {
    ...addresses,
    log,
    child,
    stderr: () => stderr,

    get: (path: string, init?: RequestInit) => fetch(addresses.url + path, init),

    /** The value of one series as it stands in /metrics; undefined if there is no such series. */
    async metric(series: string): Promise<number | undefined> {
      const text = await (await fetch(addresses.metricsUrl)).text();
      const line = text.split('\n').find((line) => line.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },

    /** Sends a signal, and resolves to the exit code. */
    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
      // Not "exit": the last lines of the log may come after it.
      const end = once(child, 'close');
      child.kill(signal);
      const [code] = await end;
      return code;
    },
  };
}

/** The same command as "start" in package.json, without npm between the test and the process. */
export function spawnServer(environment: Record<string, string>, server = 'dist/server.js') {
  return spawn(
    process.execPath,
    [
      '--enable-source-maps',
      '--import',
      resolve(server.replace(/^test\/fixtures\/.*$/, 'dist/server.js'), '../instrument.js'),
      server,
    ],
    { env: { PATH: process.env.PATH, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
}
