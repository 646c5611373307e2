import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  envelopeItemTypeToDataCategory as categoryOfType,
  type Envelope,
  parseEnvelope,
  serializeEnvelope,
  type Transport,
  updateRateLimits,
} from '@sentry/core';
import * as Sentry from '@sentry/node';
import type { FastifyBaseLogger } from 'fastify';
import {
  bytesWaiting,
  type Category,
  countLoss,
  countLosses,
  eventsWaiting,
  lossesSoFar,
  type Reason,
} from './losses.ts';
import { type Answer, CONNECTIONS, makePost, ProxyError, type TransportOptions } from './post.ts';
import { Spool } from './spool.ts';

interface SdkInternals {
  _numProcessing?: number;
}
type ItemType = Parameters<typeof categoryOfType>[0];

export interface WaitingOptions {
  /** What may wait for the tracker, in megabytes: 32 by default. */
  maxWaitingMegabytes?: number;
  /** A folder for what waits, so that it outlives the process. Without it memory is all there is. */
  spoolDirectory?: string;
  /** Milliseconds to save the rest when the process ends: 1000 by default. */
  saveTimeout?: number;
}

/** Milliseconds until the first new attempt, and at most between two. They double in between. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds between two looks at what waits. */
const LOOK_EVERY = 200;
/** Milliseconds after which an envelope that waits is saved; while the tracker is away, at once. */
const SAVE_AFTER = 1_000;
/** Milliseconds that one look may take to save envelopes: requests come first. */
const SAVE_FOR = 5;
const HOUR = 3_600_000;
/** Milliseconds of the longest limit that is kept to. Under one that long only errors go on waiting. */
const LONGEST_LIMIT = HOUR;
/** Milliseconds for which the tracker may fail at one envelope while it takes others. */
const FAILING_FOR = HOUR;
/** Milliseconds after which an envelope is of no use any more. */
const MAX_AGE = 7 * 24 * HOUR;

interface Waiting {
  readonly body: Buffer;
  /** How much of each category is in it. It waits and is dropped by the rules of the first. */
  readonly counts: [Category, number][];
  /** By `performance.now()`, as all times here: a clock that nobody sets, and that does not go back. */
  readonly since: number;
  file?: string | undefined;
  isSending: boolean;
  failingSince?: number | undefined;
}

/**
 * Keeps every envelope until the tracker has taken it: the oldest is sent first, with growing pauses
 * while the tracker cannot be reached, and the pauses that it asks for. What is given up is counted.
 */
class WaitingTransport implements Transport {
  readonly #options: TransportOptions;
  readonly #post: ((body: Buffer) => Promise<Answer>) | undefined;
  readonly #waiting = new Set<Waiting>();
  #bytes = 0;
  #maxBytes = 32 * 2 ** 20;
  #log: FastifyBaseLogger | undefined;
  #spool: Spool | undefined;
  /** Until when the tracker wants nothing of a category, and whether that is too long to wait for. */
  readonly #limits: Record<string, { until: number; isUnwanted: boolean } | undefined> = {};
  /** One at a time until the tracker answers; one more with every answer. */
  #parallel = 1;
  #sending = 0;
  #lastTaken = 0;
  #pauses = 0;
  #resumeAt = 0;
  #nextLook: NodeJS.Timeout | undefined;
  /** Why the tracker did not take something, as far as it is in the log. */
  readonly #told = new Set<string>();

  constructor(options: TransportOptions) {
    this.#options = options;
    if (URL.canParse(options.url)) this.#post = makePost(options);
  }

  /** Takes an envelope. Nobody waits for the tracker: that would keep the whole event in memory. */
  async send(envelope: Envelope) {
    this.#add({ body: Buffer.from(serializeEnvelope(envelope)), counts: countsOf(envelope) });
    return {};
  }

  /** Sends as long as there is hope, for so many milliseconds at most; true if nothing waits then. */
  async flush(timeout?: number) {
    const end = performance.now() + (timeout || Number.POSITIVE_INFINITY);
    this.#resumeAt = 0;
    this.#sendNext();
    while (this.#sending > 0 && performance.now() < end) await sleep(10);
    return this.#waiting.size === 0;
  }

  /** Begins to log, and to save what waits. */
  start(log: FastifyBaseLogger, options: WaitingOptions): void {
    const { maxWaitingMegabytes, spoolDirectory, saveTimeout = 1_000 } = options;
    this.#log = log;
    if (maxWaitingMegabytes) this.#maxBytes = maxWaitingMegabytes * 2 ** 20;
    if (spoolDirectory && this.#post) {
      const { host, pathname } = new URL(this.#options.url);
      this.#spool = new Spool({
        root: spoolDirectory,
        tracker: host + pathname,
        log,
        // The other half is for what comes. An envelope that is larger than that must not stay for ever.
        hasRoom: (bytes) => this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes / 2,
        take: (saved) => this.#add({ ...saved, counts: countsOf(parseEnvelope(saved.body)) }),
      });
    }
    // However the process ends, with a second signal, too. Before the logger writes its last lines.
    process.prependOnceListener('exit', () => this.#end(saveTimeout));
  }

  #end(saveTimeout: number): void {
    // Somebody may have emptied the folder.
    for (const envelope of this.#waiting)
      if (envelope.file && !existsSync(envelope.file)) envelope.file = undefined;
    this.#save(0, saveTimeout);
    for (const envelope of this.#waiting) if (!envelope.file) this.#lose(envelope, 'shutdown');
    // What the SDK itself is still busy with, in a `beforeSend` that hangs, say.
    const { _numProcessing: unfinished = 0 } = (Sentry.getClient() ?? {}) as SdkInternals;
    if (unfinished > 0) countLoss('unknown', 'shutdown', unfinished);
    this.#spool?.close();
    const saved = this.#waiting.size;
    if (saved > 0) this.#log?.warn({ saved }, 'events wait on the disk for the next start');
    const lost = lossesSoFar();
    if (lost.length > 0) this.#log?.error({ lost }, 'events did not reach the tracker');
  }

  #add({ age = 0, ...envelope }: Pick<Waiting, 'body' | 'counts' | 'file'> & { age?: number }) {
    const added: Waiting = { ...envelope, since: performance.now() - age, isSending: false };
    this.#waiting.add(added);
    this.#countBytes(added.body.length);
    // Traces and the like have half of the room, so that they are not in the way of errors. What is
    // new is dropped: in a flood, the first errors tell the cause, and the others repeat them.
    const room = isError(added) ? this.#maxBytes : this.#maxBytes / 2;
    // On the disk there may be as much again, where each process of a series that crashes leaves some.
    const everywhere = this.#bytes + (this.#spool?.bytesLeft ?? 0);
    const isFull = this.#bytes > room || everywhere > 2 * this.#maxBytes;
    if (!this.#post) this.#lose(added, 'invalid_dsn');
    else if (isFull && !added.file) this.#lose(added, 'queue_overflow');
    else this.#sendNext();
  }

  #sendNext(): void {
    while (this.#sending < this.#parallel && performance.now() >= this.#resumeAt) {
      const envelope = this.#oldest();
      if (!envelope) break;
      void this.#deliver(envelope);
    }
    if (this.#waiting.size === 0) return;
    this.#nextLook ??= setTimeout(() => {
      this.#nextLook = undefined;
      this.#save(performance.now() < this.#resumeAt ? 0 : SAVE_AFTER, SAVE_FOR);
      this.#sendNext();
    }, LOOK_EVERY).unref();
  }

  /** The oldest that the tracker wants now. */
  #oldest(): Waiting | undefined {
    const now = performance.now();
    for (const envelope of this.#waiting) {
      if (envelope.isSending) continue;
      const category = categoryOf(envelope);
      const { all, [category]: own } = this.#limits;
      const limits = [all, own].filter((limit) => limit && limit.until > now);
      if (now - envelope.since > MAX_AGE) this.#lose(envelope, 'too_old');
      else if (limits.length === 0) return envelope;
      else if (category !== 'error' && limits.some((limit) => limit?.isUnwanted))
        this.#lose(envelope, 'ratelimit_backoff');
    }
    return undefined;
  }

  async #deliver(envelope: Waiting): Promise<void> {
    envelope.isSending = true;
    this.#sending += 1;
    const result = await this.#post?.(withTime(envelope.body)).catch((error: Error) => error);
    this.#sending -= 1;
    envelope.isSending = false;

    if (result instanceof Error) this.#retry(envelope, 'network_error', result);
    else if (result) this.#handle(envelope, result);
    this.#sendNext();
  }

  /** Does what the tracker's answer asks for. */
  #handle(envelope: Waiting, answer: Answer): void {
    const [date, now] = [Date.now(), performance.now()];
    for (const [category, end] of Object.entries(updateRateLimits({}, answer, date))) {
      const limit = end - date;
      const until = now + Math.min(limit, LONGEST_LIMIT);
      this.#limits[category] = { until, isUnwanted: limit >= LONGEST_LIMIT };
    }

    const { statusCode: status } = answer;
    const error = new Error(`it answered ${status}`);
    if (!isFinal(status)) {
      this.#retry(envelope, status === 429 ? 'ratelimit_backoff' : 'http_error', error);
      return;
    }
    this.#pauses = 0;
    this.#parallel = Math.min(this.#parallel + 1, CONNECTIONS);
    if (status < 300) {
      this.#accept(envelope);
    } else {
      this.#tell('the tracker refuses events, which are lost: is SENTRY_DSN right?', error);
      this.#lose(envelope, status === 413 ? 'send_error' : 'http_error');
    }
  }

  #accept(envelope: Waiting): void {
    const now = performance.now();
    this.#remove(envelope);
    // After an outage the tracker gets the whole time again for what it failed at.
    if (now - this.#lastTaken > FAILING_FOR)
      for (const other of this.#waiting) other.failingSince = undefined;
    this.#lastTaken = now;
    if (this.#told.size === 0 || this.#waiting.size > 0) return;
    this.#told.clear();
    this.#log?.info('the tracker takes events again, and none waits');
  }

  /** Keeps what the tracker did not take. At the end of the queue it does not hold up the others. */
  #retry(envelope: Waiting, reason: Reason, error: Error): void {
    this.#tell('the tracker does not take events, which wait: is SENTRY_DSN right?', error);
    this.#pause();
    if (!this.#waiting.delete(envelope)) return;
    this.#waiting.add(envelope);
    envelope.failingSince ??= performance.now();
    if (this.#lastTaken - envelope.failingSince > FAILING_FOR) this.#lose(envelope, reason);
  }

  /** Logs why the tracker did not take something: each reason once, until nothing waits any more. */
  #tell(text: string, { code, message }: NodeJS.ErrnoException): void {
    if (!this.#log || this.#told.has(code ?? message)) return;
    this.#told.add(code ?? message);
    this.#log.warn({ reason: message || code }, text);
  }

  #pause(): void {
    this.#parallel = 1;
    // What was under way together fails together.
    if (performance.now() < this.#resumeAt) return;
    const pause = Math.min(FIRST_PAUSE * 2 ** this.#pauses, LONGEST_PAUSE);
    this.#pauses += 1;
    this.#resumeAt = performance.now() + pause * (0.5 + Math.random() / 2);
  }

  #lose(envelope: Waiting, reason: Reason): void {
    this.#remove(envelope);
    for (const [category, count] of envelope.counts) {
      countLoss(category, reason, count);
      // For the tracker's own statistics.
      this.#options.recordDroppedEvent(reason as 'send_error', category, count);
    }
  }

  #remove(envelope: Waiting): void {
    if (!this.#waiting.delete(envelope)) return;
    this.#countBytes(-envelope.body.length);
    if (envelope.file) this.#spool?.remove(envelope.file);
  }

  #countBytes(bytes: number): void {
    this.#bytes += bytes;
    eventsWaiting.set(this.#waiting.size);
    bytesWaiting.set(this.#bytes);
  }

  /** Saves what has waited for so many milliseconds, until the time for it is over. */
  #save(waited: number, duration: number): void {
    const now = performance.now();
    for (const envelope of this.#spool ? this.#waiting : []) {
      const age = now - envelope.since;
      if (envelope.file || age < waited) continue;
      envelope.file = this.#spool?.save(envelope.body, age);
      if (!envelope.file || performance.now() > now + duration) break;
    }
  }
}

const categoryOf = ({ counts }: Waiting): Category => counts[0]?.[0] ?? 'unknown';
const isError = (envelope: Waiting) => categoryOf(envelope) === 'error';

/** A redirect to a login, or the 404 of a proxy whose container restarts, may be over soon. */
const isFinal = (status: number) =>
  status < 300 || (status >= 400 && status < 500 && ![404, 408, 429].includes(status));

function countsOf([, items]: Envelope): Waiting['counts'] {
  return items.map((item): [Category, number] => {
    const { type, item_count: count = 1 } = item[0] as { type: ItemType; item_count?: number };
    return [categoryOfType(type), count];
  });
}

/** The envelope with the time of this attempt: trackers correct clocks by it. */
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

let isStarted = false;

/** Tells the transport where to log and to save, once: to be called when the application starts. */
export function startTransport(log: FastifyBaseLogger, options: WaitingOptions): void {
  const client = Sentry.getClient();
  const transport = client?.getTransport();
  if (isStarted || !client || !(transport instanceof WaitingTransport)) return;
  isStarted = true;
  countLosses(client);
  transport.start(log, options);
}

/** Sends what still waits, for at most so many milliseconds; at the exit the rest is saved. */
export async function sendLastEvents(timeout: number): Promise<void> {
  // The SDK would take that long for its own work, and then once more for the transport's.
  await Promise.race([Sentry.flush(timeout), sleep(timeout, undefined, { ref: false })]);
}
