import { type Agent, get } from 'node:http';
import { eventIdOn } from './event-id.ts';

export interface Visit {
  /** 0 if there was no answer; the error says why. */
  status: number;
  error?: string;
  body: string;
  /** Whether the server told the client to close the connection. */
  closed: boolean;
}

/** One request over one of the agent's connections. */
export function visit(url: string, agent: Agent): Promise<Visit> {
  return new Promise((resolve) => {
    const fail = (error: Error) =>
      resolve({ status: 0, error: String(error), body: '', closed: false });
    get(url, { agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString(),
          closed: response.headers.connection === 'close',
        }),
      );
    }).on('error', fail);
  });
}

/** The ids of the events that the answers claim were captured, without dashes as events have them. */
export function eventIds(visits: Visit[]): string[] {
  return visits.flatMap(({ body }) => eventIdOn(body)?.replaceAll('-', '') ?? []);
}
