import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../test/helpers/free-port.ts';
import { cpuSeconds, residentMegabytes, start, stop } from './processes.ts';

/** Seconds that a program may take until it answers. */
const PATIENCE = 30;

/** Starts a server, and waits for its first good answer. */
export async function startServer({
  command,
  environment = {},
  path,
}: {
  command: string[];
  environment?: Record<string, string>;
  path: string;
}) {
  const port = await freePort();
  const begin = performance.now();
  const child = start(command, { ...environment, PORT: port });
  const pid = child.pid as number;

  let stderr = '';
  child.stdout.resume();
  child.stderr.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });

  const url = `http://127.0.0.1:${port}`;
  const answers = () =>
    fetch(url + path).then(
      (response) => response.ok,
      () => false,
    );
  while (!(await answers())) {
    const program = basename(command[0] as string);
    if (child.pid === undefined) throw new Error(`${program} is not installed.`);
    if (child.exitCode !== null || performance.now() - begin > PATIENCE * 1000) {
      await stop(child);
      throw new Error(`${program} gave no good answer. ${stderr}`.trim());
    }
    await sleep(5);
  }

  return {
    url,
    secondsToFirstAnswer: (performance.now() - begin) / 1000,
    cpuSeconds: () => cpuSeconds(pid),
    residentMegabytes: () => residentMegabytes(pid),
    stop: () => stop(child),
  };
}

export type Server = Awaited<ReturnType<typeof startServer>>;

interface Item {
  type: string;
  payload: string;
}

/** Starts bench/sink.ts, the tracker that everything is reported to. */
export async function startSink() {
  const { url } = await startServer({
    command: [
      process.execPath,
      '--import',
      'tsx',
      fileURLToPath(new URL('./sink.ts', import.meta.url)),
    ],
    path: '/0',
  });
  let projects = 0;

  return {
    /** A DSN whose project nobody has reported to yet, and what arrives for it. */
    project() {
      projects += 1;
      const project = projects;
      return {
        dsn: url.replace('://', '://0123456789abcdef0123456789abcdef@').concat(`/${project}`),
        async items() {
          return (await (await fetch(`${url}/${project}`)).json()) as Item[];
        },
      };
    },
  };
}

export type Sink = Awaited<ReturnType<typeof startSink>>;
