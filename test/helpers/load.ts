import { Agent, get } from 'node:http';

export interface Visit {
  /** 0 if the connection ended without an answer. */
  status: number;
  seconds: number;
  body: string;
  /** Whether the server told the client to close the connection. */
  closed: boolean;
}

/** One request over one of the agent's connections. */
export function visit(url: string, agent: Agent): Promise<Visit> {
  const start = performance.now();
  return new Promise((resolve) => {
    const done = (status: number, body = '', closed = false) =>
      resolve({ status, seconds: (performance.now() - start) / 1000, body, closed });
    get(url, { agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', () => done(0));
      response.on('end', () =>
        done(
          response.statusCode ?? 0,
          Buffer.concat(chunks).toString(),
          response.headers.connection === 'close',
        ),
      );
    }).on('error', () => done(0));
  });
}

/** Visits in a closed loop: each connection asks again as soon as it was answered. */
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
  return visits.flatMap(({ body }) => /id="event-id">([0-9a-f]{32})</.exec(body)?.[1] ?? []);
}
