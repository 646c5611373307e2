import { Agent, get } from 'node:http';
import { eventIdOn } from './event-id.ts';

export interface Visit {
  /** 0 if there was no answer; the error says why. */
  status: number;
  error?: string;
  seconds: number;
  body: string;
  /** Whether the server told the client to close the connection. */
  closed: boolean;
}

/** One request over one of the agent's connections. */
export function visit(url: string, agent: Agent): Promise<Visit> {
  const start = performance.now();
  return new Promise((resolve) => {
    const done = (visit: Omit<Visit, 'seconds'>) =>
      resolve({ ...visit, seconds: (performance.now() - start) / 1000 });
    const fail = (error: Error) =>
      done({ status: 0, error: String(error), body: '', closed: false });
    get(url, { agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () =>
        done({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString(),
          closed: response.headers.connection === 'close',
        }),
      );
    }).on('error', fail);
  });
}

/** Visits in a closed loop: each connection sends its next request after each response. */
export async function load(
  urlOf: (n: number) => string,
  { connections, requests }: { connections: number; requests: number },
): Promise<Visit[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const visits: Visit[] = [];
  let next = 0;
  const connection = async () => {
    while (next < requests) visits.push(await visit(urlOf(next++), agent));
  };
  await Promise.all(Array.from({ length: connections }, connection));
  agent.destroy();
  return visits;
}

/** The value that the given share of visits stays below. */
export function percentile(visits: Visit[], share: number): number {
  const seconds = visits.map((visit) => visit.seconds).sort((a, b) => a - b);
  return seconds[Math.ceil(seconds.length * share) - 1] ?? Number.NaN;
}

/** The ids of the events that the answers claim were captured. */
export function eventIds(visits: Visit[]): string[] {
  return visits.flatMap(({ body }) => eventIdOn(body) ?? []);
}

/** Every status that there was, and the errors of what was not answered. */
export function statuses(visits: Visit[]): string[] {
  return [...new Set(visits.map(({ status, error }) => error ?? String(status)))].sort();
}
