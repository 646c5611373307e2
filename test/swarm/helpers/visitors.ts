import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventIdOn } from '../../helpers/event-id.ts';

export interface Visit {
  path: string;
  /** The node that it was sent to. */
  url: string;
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
 * Visits at a steady rate, as a load balancer passes them on: to the nodes in turn that are ready,
 * each on a connection of its own, and to another node only if the first refused the connection.
 *
 * @param rate visits per second
 */
export function startVisitors(urls: string[], rate: number) {
  const visits: Visit[] = [];
  const ready = new Set(urls);
  const stopping = new AbortController();

  for (const url of urls) {
    (async () => {
      while (!stopping.signal.aborted) {
        const check = fetch(`${url}/readyz`, { signal: AbortSignal.timeout(500) });
        const { ok } = await check.catch(() => ({ ok: false }));
        if (ok) ready.add(url);
        else ready.delete(url);
        await sleep(250);
      }
    })();
  }

  const send = (visit: Visit, tried: string[]) => {
    const others = [...ready].filter((url) => !tried.includes(url));
    visit.url = others[visits.indexOf(visit) % others.length] ?? '';
    const end = (result: Partial<Visit>) => {
      visit.ended ??= performance.now();
      Object.assign(visit, result);
    };
    if (visit.url === '') return end({ error: 'no node is ready' });
    const fail = (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') send(visit, [...tried, visit.url]);
      else end({ error: error.message });
    };
    const options = { agent: false, signal: AbortSignal.timeout(15_000) } as const;
    get(visit.url + visit.path, options, (response) => {
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

  const timer = setInterval(() => {
    const visit = { path: pathOf(visits.length), url: '', begun: performance.now(), status: 0 };
    visits.push(visit);
    send(visit, []);
  }, 1000 / rate);
  return {
    visits,
    /** Begins no more visits, and resolves when all are over. */
    async stop() {
      clearInterval(timer);
      while (visits.some(({ ended }) => ended === undefined)) await sleep(50);
      stopping.abort();
    },
  };
}

/** Whether a visit was answered as the application answers that path. */
export function wasAnswered({ path, status, eventId }: Visit): boolean {
  return path === '/trigger-error/' ? status === 500 && eventId !== undefined : status === 200;
}
