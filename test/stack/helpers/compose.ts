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
  projectName: string;
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

/** Starts the stack as the README does, or takes the one that runs. It is left running. */
export async function startStack(): Promise<Stack> {
  console.log('docker compose up');
  const up = spawn('docker', ['compose', 'up', '--detach', '--build', '--wait'], {
    // Its progress belongs on the terminal, but not between the tests' results on stdout.
    stdio: ['ignore', process.stderr, process.stderr],
    env: { ...process.env, BUILDKIT_PROGRESS: 'quiet' },
  });
  const [code] = await once(up, 'exit');
  if (code !== 0) throw new Error(`docker compose up exited with ${code}`);

  const compose: Stack['compose'] = (...args) => docker(['compose', ...args]);
  const { name } = JSON.parse(await compose('config', '--format', 'json'));
  return { urls: await urlsOf(compose, 'app'), compose, projectName: name };
}

/**
 * Starts a second stack beside the first, with containers, volumes and ports of its own: one that
 * a test may break without loss. It is removed when the tests of the file are over, so this is to be
 * called outside of them.
 *
 * @param name what the project's name ends in
 * @param files Compose files that change the stack
 * @param replicas how many replicas of the application
 * @param entrance the service that answers for the application, where it is not reached itself
 */
export async function startOwnStack({
  name,
  files = [],
  replicas = 1,
  entrance = 'app',
}: {
  name: string;
  files?: string[];
  replicas?: number;
  entrance?: string;
}): Promise<Stack> {
  const projectName = `monitoring-test-${name}`;
  const environment = {
    COMPOSE_PROJECT_NAME: projectName,
    COMPOSE_FILE: ['docker-compose.yml', ...files].join(':'),
    COMPOSE_PATH_SEPARATOR: ':',
    ...(await portSettings(entrance === 'app' ? replicas : 1)),
  };
  // Whoever runs the tests may have settings in .env that the tests do not expect.
  const compose: Stack['compose'] = (...args) =>
    docker(['compose', '--env-file', '/dev/null', '--profile', '*', ...args], environment);

  const remove = () => compose('down', '--volumes', '--timeout', '5');
  // An interrupted run may have left one behind.
  await remove();
  after(remove);
  console.log(`docker compose up: a stack for this file alone, ${projectName}`);
  const services = [...new Set([...SERVICES, 'bugsink-project', entrance])];
  const scale = ['--scale', `app=${replicas}`];
  await compose('up', '--detach', '--build', '--wait', ...scale, ...services);
  return { urls: await urlsOf(compose, entrance), compose, projectName };
}

async function urlsOf(compose: Stack['compose'], entrance: string): Promise<Stack['urls']> {
  const entries = SERVICES.map(async (service) => [
    service,
    `http://${await compose('port', service === 'app' ? entrance : service, String(PORTS[service]))}`,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

/** Free ports for a stack, as settings of the Compose file. */
export async function portSettings(replicas: number): Promise<Record<string, string>> {
  const single = ['BUGSINK', 'PROMETHEUS', 'ALERTMANAGER', 'JAEGER', 'GRAFANA', 'MAILDEV'];
  let next = await freePorts(single.length + 2 * replicas);
  const take = (count: number) => {
    const first = next;
    next += count;
    return count === 1 ? `${first}` : `${first}-${next - 1}`;
  };
  return {
    APP_PORT: take(replicas),
    APP_METRICS_PORT: take(replicas),
    ...Object.fromEntries(single.map((name) => [`${name}_PORT`, take(1)])),
  };
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
