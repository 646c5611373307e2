import { Agent, get } from 'node:http';
import { eventIdOn } from '../../helpers/event-id.ts';

export interface Visit {
  path: string;
  /** Milliseconds of performance.now(). */
  begun: number;
  /** undefined while it is in flight. */
  ended?: number;
  /** 0 if there was no answer; the error says why. */
  status: number;
  error?: string;
  /** The event that the answer claims was captured. */
  eventId?: string;
}

/** The path of visit number n: every twelfth ends in an error, every fourth takes half a second. */
function pathOf(n: number): string {
  if (n % 12 === 0) return '/trigger-error/';
  return n % 4 === 1 ? '/my-view?seconds=0.5' : '/my-view';
}

/**
 * Visits at a steady rate, whatever becomes of the visits before, and keeps account of each.
 *
 * @param rate visits per second
 */
export function startVisitors(url: string, rate: number) {
  // Below HAProxy's 20 seconds, so that it never closes a connection that is just being used.
  const agent = new Agent({ keepAlive: true, timeout: 10_000 });
  const visits: Visit[] = [];

  const visit = () => {
    const path = pathOf(visits.length);
    const visit: Visit = { path, begun: performance.now(), status: 0 };
    visits.push(visit);
    const end = (result: Partial<Visit>) => {
      visit.ended ??= performance.now();
      Object.assign(visit, result);
    };
    const fail = (error: Error) => end({ error: error.message });
    get(url + path, { agent, signal: AbortSignal.timeout(30_000) }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('error', fail);
      response.on('end', () => {
        const eventId = eventIdOn(body);
        end({ status: response.statusCode ?? 0, ...(eventId && { eventId }) });
      });
    }).on('error', fail);
  };

  const timer = setInterval(visit, 1000 / rate);
  return {
    visits,
    /** Begins no more visits, and resolves when all are over. */
    async stop() {
      clearInterval(timer);
      while (visits.some(({ ended }) => ended === undefined)) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      agent.destroy();
    },
  };
}

/** Whether a visit was answered as the application answers that path. */
export function wasAnswered({ path, status, eventId }: Visit): boolean {
  return path === '/trigger-error/' ? status === 500 && eventId !== undefined : status === 200;
}
