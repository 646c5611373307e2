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
import { type Saved, Spool } from './spool.ts';

type ItemType = Parameters<typeof categoryOfType>[0];

export interface WaitingOptions {
  /** What may wait for the tracker, in megabytes: 32 if nothing else is said. */
  maxWaitingMegabytes?: number;
  /** A folder for what waits, so that it outlives the process. Without it memory is all there is. */
  spoolDirectory?: string;
}

/** Milliseconds until the first new attempt, and at most between two. They double in between. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds between two looks at what waits. */
const LOOK_EVERY = 200;
/** Milliseconds of waiting after which an envelope is saved; and that a look may take to save some. */
const SAVE_AFTER = 1_000;
const SAVE_FOR = 5;
/** Milliseconds to save the rest when the process ends. */
const SAVE_LAST = 500;
/** Milliseconds: a tracker that asks for a longer pause does not want this category at all. */
const UNWANTED = 3_600_000;
/** How often the tracker may fail at an envelope while it takes others. */
const MAX_FAILURES = 3;
/** Milliseconds after which what was saved is of no use any more. */
const MAX_AGE = 7 * 24 * 3_600_000;

interface Waiting {
  readonly body: Buffer;
  /** What is in it. It is of the first category, and what comes with that shares its fate. */
  readonly counts: [Category, number][];
  readonly since: number;
  file?: string | undefined;
  isSending: boolean;
  /** How often the tracker failed at it while it took others, and how many it had taken by then. */
  failures: number;
  takenBefore: number;
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
  #limits: Record<string, number> = {};
  /** One at a time until the tracker answers; one more with every answer. */
  #parallel = 1;
  #sending = 0;
  #taken = 0;
  #pauses = 0;
  #resumeAt = 0;
  #nextLook: NodeJS.Timeout | undefined;

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
    const end = Date.now() + (timeout || Number.POSITIVE_INFINITY);
    this.#resumeAt = 0;
    this.#sendNext();
    while (this.#sending > 0 && Date.now() < end) await sleep(10);
    return this.#waiting.size === 0;
  }

  /** Begins to log, and to save what waits. */
  start(log: FastifyBaseLogger, { maxWaitingMegabytes, spoolDirectory }: WaitingOptions): void {
    this.#log = log;
    if (maxWaitingMegabytes) this.#maxBytes = maxWaitingMegabytes * 2 ** 20;
    try {
      if (spoolDirectory) this.#spool = new Spool(spoolDirectory, (saved) => this.#addSaved(saved));
    } catch (err) {
      log.error(
        { err },
        `${spoolDirectory} cannot be written to: what waits is kept in memory only`,
      );
    }
    // However the process ends, with a second signal, too. Before the logger writes its last lines.
    process.prependOnceListener('exit', () => this.#end());
  }

  #end(): void {
    this.#save(0, SAVE_LAST);
    for (const envelope of this.#waiting) if (!envelope.file) this.#lose(envelope, 'shutdown');
    this.#onDisk((spool) => spool.close());
    const saved = this.#waiting.size;
    if (saved > 0) this.#log?.warn({ saved }, 'events wait on the disk for the next start');
    const lost = lossesSoFar();
    if (lost.length > 0) this.#log?.error({ lost }, 'events did not reach the tracker');
  }

  #addSaved({ body, file, since, category }: Saved): void {
    if (!body) {
      const aside = this.#spool?.setAside(file);
      this.#log?.error({ file: aside }, 'a file of the spool is damaged, and was set aside');
      countLoss(category as Category, 'damaged');
    } else {
      this.#add({ body, file, since, counts: countsOf(parseEnvelope(body)) });
    }
  }

  #add(envelope: Pick<Waiting, 'body' | 'counts'> & Partial<Waiting>): void {
    const { since = Date.now() } = envelope;
    const added = { ...envelope, since, isSending: false, failures: 0, takenBefore: 0 };
    this.#waiting.add(added);
    this.#countBytes(added.body.length);
    // Traces and the like have half of the room, so that they are not in the way of errors. What is
    // new is dropped: in a flood, the first errors tell the cause, and the others repeat them.
    const room = isError(added) ? this.#maxBytes : this.#maxBytes / 2;
    if (!this.#post) this.#lose(added, 'invalid_dsn');
    else if (since < Date.now() - MAX_AGE) this.#lose(added, 'too_old');
    else if (this.#bytes > room) this.#lose(added, 'queue_overflow');
    else this.#sendNext();
  }

  #sendNext(): void {
    while (this.#sending < this.#parallel && Date.now() >= this.#resumeAt) {
      const envelope = this.#oldest();
      if (!envelope) break;
      void this.#deliver(envelope);
    }
    if (this.#waiting.size === 0) return;
    this.#nextLook ??= setTimeout(() => {
      this.#nextLook = undefined;
      this.#save(SAVE_AFTER, SAVE_FOR);
      this.#sendNext();
    }, LOOK_EVERY).unref();
  }

  /** The oldest that the tracker wants now. */
  #oldest(): Waiting | undefined {
    for (const envelope of this.#waiting) {
      if (envelope.isSending) continue;
      const { all = 0, [categoryOf(envelope)]: own = 0 } = this.#limits;
      const pause = Math.max(all, own) - Date.now();
      if (pause > UNWANTED && !isError(envelope)) this.#lose(envelope, 'ratelimit_backoff');
      else if (pause <= 0) return envelope;
    }
    return undefined;
  }

  async #deliver(envelope: Waiting): Promise<void> {
    envelope.isSending = true;
    this.#sending += 1;
    const result = await this.#post?.(withTime(envelope.body)).catch((error: Error) => error);
    this.#sending -= 1;
    envelope.isSending = false;

    if (result && 'statusCode' in result) {
      this.#limits = updateRateLimits(this.#limits, result);
      this.#heed(envelope, result.statusCode);
    } else {
      const { syscall = '' } = result as NodeJS.ErrnoException;
      this.#pause();
      if (!['connect', 'getaddrinfo'].includes(syscall)) this.#blame(envelope, 'network_error');
    }
    this.#sendNext();
  }

  #heed(envelope: Waiting, status: number): void {
    if (status === 408 || status === 429 || status >= 500) {
      this.#pause();
      if (status !== 429) this.#blame(envelope, 'http_error');
      return;
    }
    this.#pauses = 0;
    this.#parallel = Math.min(this.#parallel + 1, CONNECTIONS);
    // What was refused would be refused again. A redirect is not followed.
    if (status === 413) this.#lose(envelope, 'send_error');
    else if (status >= 300) this.#lose(envelope, 'http_error');
    else {
      this.#remove(envelope);
      this.#taken += 1;
    }
  }

  #pause(): void {
    this.#parallel = 1;
    // What was under way together fails together.
    if (Date.now() < this.#resumeAt) return;
    const pause = Math.min(FIRST_PAUSE * 2 ** this.#pauses, LONGEST_PAUSE);
    this.#pauses += 1;
    this.#resumeAt = Date.now() + pause * (0.5 + Math.random() / 2);
  }

  /** Puts an envelope that the tracker failed at to the end: it must not hold up the others. */
  #blame(envelope: Waiting, reason: Reason): void {
    if (!this.#waiting.delete(envelope)) return;
    this.#waiting.add(envelope);
    if (this.#taken > envelope.takenBefore) envelope.failures += 1;
    envelope.takenBefore = this.#taken;
    if (envelope.failures > MAX_FAILURES) this.#lose(envelope, reason);
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
    const { file } = envelope;
    if (file) this.#onDisk((spool) => spool.remove(file));
  }

  #countBytes(bytes: number): void {
    this.#bytes += bytes;
    eventsWaiting.set(this.#waiting.size);
    bytesWaiting.set(this.#bytes);
  }

  /** Saves what has waited for so many milliseconds, until the time for it is over. */
  #save(waited: number, duration: number): void {
    const now = Date.now();
    for (const envelope of this.#waiting) {
      if (envelope.file || envelope.since > now - waited) continue;
      const { body, since } = envelope;
      this.#onDisk((spool) => {
        envelope.file = spool.save(body, categoryOf(envelope), since);
      });
      if (!envelope.file || Date.now() > now + duration) break;
    }
  }

  /** Works on the spool, if there is one. A disk that fails is no reason to fail with it. */
  #onDisk(work: (spool: Spool) => void): void {
    try {
      if (this.#spool) work(this.#spool);
    } catch (err) {
      this.#log?.error({ err }, 'the spool failed');
    }
  }
}

const categoryOf = ({ counts }: Waiting): Category => counts[0]?.[0] ?? 'unknown';
const isError = (envelope: Waiting) => categoryOf(envelope) === 'error';

function countsOf([, items]: Envelope): Waiting['counts'] {
  return items.map(([header]) => {
    const { type, item_count: count = 1 } = header as { type: ItemType; item_count?: number };
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
