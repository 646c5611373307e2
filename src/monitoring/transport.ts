import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Client,
  envelopeItemTypeToDataCategory as categoryOfType,
  type Envelope,
  serializeEnvelope,
  type Transport,
  updateRateLimits,
} from '@sentry/core';
import * as Sentry from '@sentry/node';
import { Counter, Gauge } from 'prom-client';
import { type Answer, CONNECTIONS, makePost, ProxyError, type TransportOptions } from './post.ts';

type ItemType = Parameters<typeof categoryOfType>[0];
type Category = Parameters<Client['recordDroppedEvent']>[1];
type SdkReason = Parameters<Client['recordDroppedEvent']>[0];
/** Sentry's names for why something was lost, and some more. */
type Reason = SdkReason | 'http_error' | 'invalid_dsn' | 'shutdown';

const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'Events and traces that were given up, and will not reach the tracker',
  labelNames: ['category', 'reason'],
});
const eventsWaiting = new Gauge({
  name: 'sentry_events_waiting',
  help: 'Events and traces that the tracker has not taken yet',
});
const bytesWaiting = new Gauge({
  name: 'sentry_events_waiting_bytes',
  help: 'Size of the events and traces that wait, as they are sent',
});

// A series that starts at 0 lets rate() see the first loss.
const reasons: Reason[] = [
  'network_error',
  'http_error',
  'send_error',
  'ratelimit_backoff',
  'queue_overflow',
];
for (const reason of reasons) eventsLost.inc({ category: 'error', reason }, 0);

/** Bytes that may wait: the container of this application has twelve times as much memory. */
const MAX_BYTES = 32 * 2 ** 20;
/** Milliseconds until the first new attempt, and at most between two. They double in between. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds after which what does not have to wait for anything else is looked at again. */
const TICK = 200;
/** A pause asked for, in milliseconds, that says that the tracker does not want this at all. */
const UNWANTED = 3_600_000;
/** How often the tracker may fail at an event while it takes others. */
const MAX_FAILURES = 3;

interface Waiting {
  readonly body: Buffer;
  /** What is in it: of the first category it is, and the others share its fate. */
  readonly counts: [category: Category, count: number][];
  sending: boolean;
  /** How often the tracker failed at it, and how many it had taken by then. */
  failures: number;
  deliveredBefore: number;
}

/**
 * Keeps every envelope until the tracker has taken it, and counts what it has to give up. In order,
 * the oldest first, with growing pauses while the tracker cannot be reached, and with the pauses that
 * it asks for.
 */
class WaitingTransport implements Transport {
  readonly #options: TransportOptions & { maxBytes?: number };
  readonly #post: ((body: Buffer) => Promise<Answer>) | undefined;
  readonly #waiting = new Set<Waiting>();
  #bytes = 0;
  /** Until when the tracker wants nothing of a category. */
  #limits: Record<string, number> = {};
  #sending = 0;
  /** How many may be sent at once: one until the tracker answers, then more with every answer. */
  #parallel = 1;
  #failures = 0;
  #resumeAt = 0;
  #delivered = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    if (URL.canParse(options.url)) this.#post = makePost(options);
  }

  /** Takes an envelope. The SDK need not wait: it would keep the whole event in memory until then. */
  async send(envelope: Envelope) {
    this.#add(Buffer.from(serializeEnvelope(envelope)), countsOf(envelope));
    return {};
  }

  /** Sends for at most so many milliseconds, or as long as there is hope; true if nothing waits. */
  async flush(timeout?: number) {
    const end = Date.now() + (timeout || Number.POSITIVE_INFINITY);
    this.#resumeAt = 0;
    this.#sendNext();
    while (this.#sending > 0 && Date.now() < end) await sleep(10);
    return this.#waiting.size === 0;
  }

  /** Gives up what waits, and tells what was lost since the start. */
  async end() {
    for (const envelope of this.#waiting) this.#lose(envelope, 'shutdown');
    const { values } = await eventsLost.get();
    return values
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => ({ ...labels, count: value }));
  }

  #add(body: Buffer, counts: Waiting['counts']): void {
    const envelope = { body, counts, sending: false, failures: 0, deliveredBefore: 0 };
    this.#keep(envelope);
    // Traces and the like may take half of the room: they must not be in the way of an error. The
    // newest are dropped: in a flood, the first errors tell the cause, and the others repeat it.
    const room = (this.#options.maxBytes ?? MAX_BYTES) / (isError(envelope) ? 1 : 2);
    if (!this.#post) this.#lose(envelope, 'invalid_dsn');
    else if (this.#bytes > room) this.#lose(envelope, 'queue_overflow');
    else this.#sendNext();
  }

  #sendNext(): void {
    while (this.#sending < this.#parallel && Date.now() >= this.#resumeAt) {
      const envelope = this.#next();
      if (!envelope) break;
      void this.#deliver(envelope);
    }
    if (this.#waiting.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#sendNext();
    }, TICK).unref();
  }

  /** The oldest that may be sent now. */
  #next(): Waiting | undefined {
    for (const envelope of this.#waiting) {
      const { all = 0, [envelope.counts[0]?.[0] ?? '']: own = 0 } = this.#limits;
      const pause = Math.max(all, own) - Date.now();
      if (pause > UNWANTED && !isError(envelope)) this.#lose(envelope, 'ratelimit_backoff');
      else if (pause <= 0 && !envelope.sending) return envelope;
    }
    return undefined;
  }

  async #deliver(envelope: Waiting): Promise<void> {
    envelope.sending = true;
    this.#sending += 1;
    const answer = await this.#post?.(withTime(envelope.body)).catch((error) => error as Error);
    this.#sending -= 1;
    envelope.sending = false;

    if (answer instanceof Error) this.#postpone(envelope, 'network_error', answer);
    else if (answer) {
      const { statusCode } = answer;
      this.#limits = updateRateLimits(this.#limits, answer);
      if (statusCode === 408 || statusCode === 429 || statusCode >= 500) {
        this.#postpone(envelope, 'http_error', answer);
      } else {
        this.#failures = 0;
        this.#parallel = Math.min(this.#parallel + 1, CONNECTIONS);
        // It would be refused again. A redirect is not followed.
        if (statusCode === 413) this.#lose(envelope, 'send_error');
        else if (statusCode >= 300) this.#lose(envelope, 'http_error');
        else this.#remove(envelope);
        if (statusCode < 300) this.#delivered += 1;
      }
    }
    this.#sendNext();
  }

  /** What was not answered may have arrived: trackers ignore an event whose id they know. */
  #postpone(envelope: Waiting, reason: Reason, fault: Answer | NodeJS.ErrnoException): void {
    this.#parallel = 1;
    // Others that were under way fail for the same reason.
    if (Date.now() >= this.#resumeAt) {
      const pause = Math.min(FIRST_PAUSE * 2 ** this.#failures, LONGEST_PAUSE);
      this.#failures += 1;
      this.#resumeAt = Date.now() + pause * (0.5 + Math.random() / 2);
    }
    const isNotAtFault =
      fault instanceof Error
        ? ['connect', 'getaddrinfo'].includes(fault.syscall ?? '')
        : fault.statusCode === 429;
    if (isNotAtFault) return;
    // One that the tracker fails at goes to the end, so that it does not hold up the rest.
    this.#waiting.delete(envelope);
    this.#waiting.add(envelope);
    if (this.#delivered > envelope.deliveredBefore) envelope.failures += 1;
    envelope.deliveredBefore = this.#delivered;
    if (envelope.failures > MAX_FAILURES) this.#lose(envelope, reason);
  }

  #lose(envelope: Waiting, reason: Reason): void {
    this.#remove(envelope);
    for (const [category, count] of envelope.counts) {
      eventsLost.inc({ category, reason }, count);
      // For the tracker's own statistics.
      this.#options.recordDroppedEvent(reason as SdkReason, category, count);
    }
  }

  #keep(envelope: Waiting): void {
    this.#waiting.add(envelope);
    this.#count(envelope.body.length);
  }

  #remove(envelope: Waiting): void {
    if (this.#waiting.delete(envelope)) this.#count(-envelope.body.length);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    eventsWaiting.set(this.#waiting.size);
    bytesWaiting.set(this.#bytes);
  }
}

const isError = ({ counts }: Waiting) => counts[0]?.[0] === 'error';

function countsOf([, items]: Envelope): Waiting['counts'] {
  return items.map(([header]) => {
    const { type, item_count: count = 1 } = header as { type: ItemType; item_count?: number };
    return [categoryOfType(type), count];
  });
}

/** The envelope with the time at which it is sent: a tracker takes the difference for a wrong clock. */
function withTime(body: Buffer): Buffer {
  const end = body.indexOf('\n');
  const header = JSON.parse(body.toString('utf8', 0, end));
  const sent = { ...header, sent_at: new Date().toISOString() };
  return Buffer.concat([Buffer.from(JSON.stringify(sent)), body.subarray(end)]);
}

/** The transport for `Sentry.init`. */
export function makeTransport(options: TransportOptions): Transport {
  try {
    return new WaitingTransport(options);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    // A stack would only hide the line that helps.
    console.error(error.message);
    process.exit(1);
  }
}

/** Counts also what the SDK loses itself, before it comes to the transport. */
export function countLosses(client: Client): void {
  const { recordDroppedEvent } = client;
  client.recordDroppedEvent = (reason, category, count = 1) => {
    recordDroppedEvent.call(client, reason, category, count);
    // The other reasons are the application's own wish.
    if (!LOSSES.includes(reason)) return;
    eventsLost.inc({ category: category === 'unknown' ? 'error' : category, reason }, count);
  };
}
const LOSSES = ['queue_overflow', 'buffer_overflow', 'callback_error'];

/**
 * Sends what still waits, for at most so many milliseconds, and tells what was lost since the start:
 * to be called when the process ends, and no scrape will see it any more.
 */
export async function sendLastEvents(timeout: number) {
  const client = Sentry.getClient();
  await client?.flush(timeout);
  const transport = client?.getTransport();
  return transport instanceof WaitingTransport ? transport.end() : [];
}
