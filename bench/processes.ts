import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

const running = new Set<ChildProcess>();

/** Starts a program that ends with the benchmark at the latest. It gets no environment but this. */
export function start(command: string[], environment: NodeJS.ProcessEnv = {}) {
  const [program, ...args] = command as [string, ...string[]];
  const child = spawn(program, args, {
    // A process group of its own: it is ended with all its children, and not by Ctrl-C itself.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, ...environment },
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  // Not there to be started: whoever waits for it finds it without a process id.
  child.once('error', () => running.delete(child));
  return child;
}

function kill({ pid }: ChildProcess) {
  try {
    if (pid) process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself in this moment.
  }
}

export async function stop(child: ChildProcess) {
  if (!running.has(child)) return;
  const exit = once(child, 'exit');
  kill(child);
  await exit;
}

/** Runs a program to its end, and resolves to what it printed. */
export async function run(command: string[], environment: NodeJS.ProcessEnv = {}) {
  const child = start(command, environment);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command.join(' ')}: ${stderr.trim() || `exit code ${code}`}`);
  return stdout;
}

process.on('exit', () => running.forEach(kill));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    console.error(`\n${signal}: ended, with everything that was started.`);
    process.exit(130);
  });
}

/** The process and its children: a gunicorn does its work in them. */
function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...children.split(' ').filter(Boolean).map(Number).flatMap(processTree)];
}

const sum = (pid: number, read: (pid: number) => number) =>
  processTree(pid).reduce((total, member) => total + read(member), 0);

/** The kernel counts in hundredths of a second, whatever the machine. */
const TICKS_PER_SECOND = 100;

/** The time that a process and its children have spent on a processor, in user and system mode. */
export function cpuSeconds(pid: number): number {
  return sum(pid, (member) => {
    // The second field, the program's name, may have spaces in it and ends with the last ")".
    const stat = readFileSync(`/proc/${member}/stat`, 'utf8').split(') ').at(-1) as string;
    const fields = stat.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  });
}

/** The memory of a process and its children that is in RAM. */
export function residentMegabytes(pid: number): number {
  return sum(pid, (member) => {
    const status = readFileSync(`/proc/${member}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
  });
}
