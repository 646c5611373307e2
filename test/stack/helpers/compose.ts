import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Runs `docker compose` in the project's folder, and resolves to what it printed. */
export async function compose(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('docker', ['compose', ...args], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

/** The address on this machine at which a service's port is published. */
export async function published(service: string, port: number): Promise<string> {
  return `http://${await compose('port', service, String(port))}`;
}

/** Starts the stack, or takes the one that runs, and resolves to where its services are. */
export async function startStack() {
  await compose('up', '--detach', '--build', '--wait');
  const [app, bugsink, prometheus, alertmanager, grafana, maildev] = await Promise.all([
    published('app', 8000),
    published('bugsink', 8000),
    published('prometheus', 9090),
    published('alertmanager', 9093),
    published('grafana', 3000),
    published('maildev', 1080),
  ]);
  return { app, bugsink, prometheus, alertmanager, grafana, maildev };
}
