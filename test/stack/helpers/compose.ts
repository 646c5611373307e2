import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { after } from 'node:test';
import { promisify } from 'node:util';

const PORTS = {
  app: 8000,
  bugsink: 8000,
  prometheus: 9090,
  alertmanager: 9093,
  jaeger: 16686,
  grafana: 3000,
  maildev: 1080,
} as const;

export type Service = keyof typeof PORTS;
export const SERVICES = Object.keys(PORTS) as Service[];

export interface Stack {
  /** Where each service is published on this machine. */
  urls: Record<Service, string>;
  /** Runs `docker compose` on this stack, and resolves to what it printed. */
  compose: (...args: string[]) => Promise<string>;
}

/** Runs `docker`, and resolves to what it printed. */
export async function docker(
  args: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', args, {
    env: { ...process.env, ...environment },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

/** Starts the stack as the README does, or uses the one that is running. It is left running. */
export async function startStack(): Promise<Stack> {
  const up = spawn('docker', ['compose', 'up', '--detach', '--build', '--wait'], {
    // Its progress belongs on the terminal, but not between the tests' results on stdout.
    stdio: ['ignore', process.stderr, process.stderr],
    env: { ...process.env, BUILDKIT_PROGRESS: 'quiet' },
  });
  const [code] = await once(up, 'exit');
  if (code !== 0) throw new Error(`docker compose up exited with ${code}`);
  const compose: Stack['compose'] = (...args) => docker(['compose', ...args]);
  return { urls: await urlsOf(compose), compose };
}

/**
 * Starts a second stack beside the first, with containers, volumes and ports of its own: one that
 * a test may break. It is removed when the tests of the file are over, so this is to be called
 * outside of them.
 *
 * @param name what the project's name ends in
 * @param files Compose files that change the stack
 */
export async function startOwnStack(name: string, ...files: string[]): Promise<Stack> {
  const environment = {
    COMPOSE_PROJECT_NAME: `monitoring-test-${name}`,
    COMPOSE_FILE: ['docker-compose.yml', ...files].join(':'),
    COMPOSE_PATH_SEPARATOR: ':',
    ...(await portSettings()),
  };
  // There may be settings in .env that the tests do not expect.
  const compose: Stack['compose'] = (...args) =>
    docker(['compose', '--env-file', '/dev/null', ...args], environment);

  const remove = () => compose('down', '--volumes', '--timeout', '5');
  // An interrupted run may have left one behind.
  await remove();
  after(remove);
  await compose('up', '--detach', '--build', '--wait');
  return { urls: await urlsOf(compose), compose };
}

async function urlsOf(compose: Stack['compose']): Promise<Stack['urls']> {
  const entries = SERVICES.map(async (service) => [
    service,
    `http://${await compose('port', service, String(PORTS[service]))}`,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/** Free ports for a stack, as settings of the Compose file. */
export async function portSettings(): Promise<Record<string, string>> {
  const names = ['APP_METRICS', ...SERVICES.map((service) => service.toUpperCase())];
  const first = await freePorts(names.length);
  return Object.fromEntries(names.map((name, index) => [`${name}_PORT`, String(first + index)]));
}

/**
 * The first of `count` free ports in a row. They are below those that systems use for outgoing
 * connections: one of those could take a port while its container restarts.
 */
async function freePorts(count: number): Promise<number> {
  for (let first = 20_000; first < 32_000; first += count) {
    const ports = Array.from({ length: count }, (_, index) => first + index);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return first;
  }
  throw new Error(`there are no ${count} free ports in a row`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
