/**
 * Further Docker engines on this machine, each in a network namespace of its own and with data of
 * its own: to a swarm they are other machines. Everything here is synchronous, so that it can be
 * undone even after Ctrl-C.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What everything here is called. Interfaces have names of at most 15 characters. */
const NAME = 'mtest';
const addressOf = (node: number) => `10.78.0.${node}`;

/** The machine's own engine is node 1. */
export const MANAGER_ADDRESS = addressOf(1);

/** Why this machine cannot have further engines; undefined if it can. */
export function noEngines(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return 'further engines need Linux, and root';
  }
  const missing = ['docker', 'ip', 'nsenter'].filter((name) => spawnSync(name, ['-h']).error);
  if (missing.length > 0) return `${missing.join(' and ')} cannot be run`;
  if (spawnSync('docker', ['info']).status !== 0) return 'there is no Docker engine';
  if (!findEngine()) return 'the Docker engine does not run on this machine itself';
  return undefined;
}

/** The engine that runs beside this process: further ones use the same program. */
function findEngine(): { program: string; path: string } | undefined {
  for (const pid of pids()) {
    try {
      if (readFileSync(`/proc/${pid}/comm`, 'utf8') !== 'dockerd\n') continue;
      if (readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync('/proc/self/ns/net')) continue;
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      const path = environment.find((line) => line.startsWith('PATH='))?.slice('PATH='.length);
      return { program: readlinkSync(`/proc/${pid}/exe`), path: path ?? process.env.PATH ?? '' };
    } catch {
      // It has ended in the meantime.
    }
  }
  return undefined;
}

const pids = () => readdirSync('/proc').filter((name) => /^\d+$/.test(name));

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });

function dockerOn(socket: string) {
  return (...args: string[]): string =>
    execFileSync('docker', ['--host', `unix://${socket}`, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
}

export interface Node {
  address: string;
  docker: (...args: string[]) => string;
  socket: string;
  /** Cuts it off from the others without notice, as a power cut does. */
  cut: () => void;
  /** Ends all of its processes. */
  kill: () => void;
}

let folder = '';

export function makeNetwork(): void {
  removeNodes();
  folder = mkdtempSync(join(tmpdir(), 'monitoring-test-swarm-'));
  // The switch between the nodes has a namespace of its own, where no firewall interferes.
  ip('netns', 'add', NAME);
  ip('-n', NAME, 'link', 'add', 'switch', 'type', 'bridge');
  ip('-n', NAME, 'link', 'set', 'switch', 'up');
  ip('link', 'add', NAME, 'type', 'veth', 'peer', 'name', 'node-1', 'netns', NAME);
  ip('-n', NAME, 'link', 'set', 'node-1', 'master', 'switch', 'up');
  ip('address', 'add', `${MANAGER_ADDRESS}/24`, 'dev', NAME);
  ip('link', 'set', NAME, 'up');
}

/** @param number 2 or more: 1 is the machine's own engine. */
export function startNode(number: number): Node {
  const engine = findEngine();
  if (!engine) throw new Error('there is no Docker engine to start another one of');
  const name = `${NAME}-${number}`;
  const cable = `node-${number}`;
  ip('netns', 'add', name);
  ip('-n', NAME, 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  ip('-n', NAME, 'link', 'set', cable, 'master', 'switch', 'up');
  ip('-n', name, 'address', 'add', `${addressOf(number)}/24`, 'dev', 'eth0');
  ip('-n', name, 'link', 'set', 'eth0', 'up');
  ip('-n', name, 'link', 'set', 'lo', 'up');

  const place = join(folder, `node-${number}`);
  mkdirSync(place);
  const socket = join(place, 'docker.sock');
  const log = openSync(join(place, 'log'), 'w');
  // Not `ip netns exec`: that hides the cgroups.
  const options = [
    `--net=/var/run/netns/${name}`,
    engine.program,
    ...['--host', `unix://${socket}`, '--pidfile', join(place, 'pid'), '--log-level', 'warn'],
    ...['--data-root', join(place, 'data'), '--exec-root', join(place, 'exec')],
  ];
  // In a session of its own, so that Ctrl-C does not end it before its turn.
  spawn('nsenter', options, {
    detached: true,
    stdio: ['ignore', log, log],
    env: { ...process.env, PATH: engine.path },
  }).unref();

  const docker = dockerOn(socket);
  for (let attempt = 0; ; attempt++) {
    try {
      docker('version');
      break;
    } catch (error) {
      if (attempt === 60)
        throw new Error(readFileSync(join(place, 'log'), 'utf8'), { cause: error });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    }
  }
  return {
    address: addressOf(number),
    docker,
    socket,
    cut: () => ip('-n', NAME, 'link', 'set', cable, 'down'),
    kill: () => killAll(place),
  };
}

/** Kills every process that works in the folder, with all that they have started. */
function killAll(place: string): void {
  const parents = new Map<string, string>();
  const doomed = new Set<string>();
  for (const pid of pids()) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      parents.set(pid, stat.slice(stat.lastIndexOf(')')).split(' ')[2] ?? '');
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${place}/`)) doomed.add(pid);
    } catch {
      // It has ended in the meantime.
    }
  }
  for (let before = -1; before < doomed.size; ) {
    before = doomed.size;
    for (const [pid, parent] of parents) if (doomed.has(parent)) doomed.add(pid);
  }
  const cgroups = new Set<string>();
  for (const pid of doomed) {
    try {
      const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '';
      if (/[0-9a-f]{64}/.test(path)) cgroups.add(`/sys/fs/cgroup${path}`);
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended in the meantime.
    }
  }
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  for (const cgroup of cgroups) {
    try {
      rmdirSync(cgroup);
    } catch {
      // The engine has removed it, or a process is not quite dead: an empty group costs nothing.
    }
  }
}

/** Removes all nodes but the machine's own engine, including those that an earlier run has left. */
export function removeNodes(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith('monitoring-test-swarm-')) continue;
    const place = join(tmpdir(), name);
    killAll(place);
    const mounts = readFileSync('/proc/mounts', 'utf8').split('\n').reverse();
    for (const mount of mounts) {
      const path = mount.split(' ')[1] ?? '';
      if (path.startsWith(`${place}/`)) spawnSync('umount', ['--lazy', path]);
    }
    rmSync(place, { recursive: true, force: true });
  }
  for (let number = 2; number < 10; number++) {
    spawnSync('ip', ['netns', 'delete', `${NAME}-${number}`]);
  }
  spawnSync('ip', ['link', 'delete', NAME]);
  spawnSync('ip', ['netns', 'delete', NAME]);
}
