import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../test/helpers/free-port.ts';
import type { Variant } from './variants.ts';

/** Seconds that a server may take until it answers. */
const PATIENCE = 30;

/** Starts a variant, and waits for its first good answer. It ends with the benchmark at the latest. */
export async function startServer({ command, environment, path }: Variant, dsn: string) {
  const [program, ...args] = command as [string, ...string[]];
  const port = await freePort();
  const child = spawn(program, args, {
    // A process group of its own: it is ended with all its children, and not by Ctrl-C itself.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    // Nothing else, so that no setting of this machine is in the numbers.
    env: {
      PATH: process.env.PATH,
      HOST: '127.0.0.1',
      PORT: port,
      METRICS_PORT: await freePort(),
      // As in the image: without it Fastify's view plugin and Express read templates for every page.
      NODE_ENV: 'production',
      // A line of log for every request is not what is compared here.
      LOG_LEVEL: 'warn',
      SENTRY_DSN: dsn,
      ...environment,
    },
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  // A program that is not installed: it is found below, without a process id.
  child.once('error', () => running.delete(child));

  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });

  const url = `http://127.0.0.1:${port}`;
  let answer = 'no answer';
  const answers = async () => {
    const response = await fetch(url + path).catch(() => undefined);
    if (response) answer = `${response.status} ${await response.text()}`.slice(0, 2000);
    return response?.ok;
  };
  const deadline = performance.now() + PATIENCE * 1000;
  while (!(await answers())) {
    if (child.pid === undefined) throw new Error(`${basename(program)} is not installed.`);
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop(child);
      throw new Error(`${basename(program)} gave no good answer: ${answer} ${stderr}`.trim());
    }
    await sleep(50);
  }

  return {
    url,
    cpuSeconds: () => cpuSeconds(child.pid as number),
    stop: () => stop(child),
  };
}

export type Server = Awaited<ReturnType<typeof startServer>>;

const running = new Set<ChildProcess>();

function kill({ pid }: ChildProcess) {
  try {
    if (pid) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself in this moment.
  }
}

async function stop(child: ChildProcess) {
  if (!running.has(child)) return;
  const exit = once(child, 'exit');
  kill(child);
  await exit;
}

process.on('exit', () => running.forEach(kill));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    console.error(`\n${signal}: ended, with everything that was started.`);
    process.exit(130);
  });
}

/** The kernel counts in hundredths of a second, whatever the machine. */
const TICKS_PER_SECOND = 100;

/**
 * The time that a process has spent on a processor, in user and system mode, with its children: a
 * gunicorn does its work in them.
 */
function cpuSeconds(pid: number): number {
  // The second field, the program's name, may have spaces in it and ends with the last ")".
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) as string;
  const [user, system] = stat.split(' ').slice(11, 13).map(Number) as [number, number];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children
    .split(' ')
    .filter(Boolean)
    .reduce(
      (total, child) => total + cpuSeconds(Number(child)),
      (user + system) / TICKS_PER_SECOND,
    );
}
