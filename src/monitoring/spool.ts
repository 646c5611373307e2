/**
 * Optional: a transport for `Sentry.init` that loses no event while the tracker is unreachable. To
 * use the SDK's own transport, delete this file and the line that uses it.
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  envelopeItemTypeToDataCategory as categoryOf,
  type Envelope,
  forEachEnvelopeItem,
  parseEnvelope,
  serializeEnvelope,
  type Transport,
} from '@sentry/core';
import * as Sentry from '@sentry/node';
import { Counter, Gauge } from 'prom-client';

type Options = Parameters<typeof Sentry.makeNodeTransport>[0];
/** The SDK's reasons, and two of our own. */
type Reason = Parameters<Options['recordDroppedEvent']>[0] | 'too_old' | 'damaged';

/** How many requests to the tracker may be in flight. */
const PARALLEL = 10;
/** Milliseconds until a request is aborted. The SDK itself sets no limit. */
const DEADLINE = 10_000;
/** Milliseconds until the first retry, and at most between two. They double in between. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds until the directory is read again, for what other processes have left there. */
const READ_EVERY = 5_000;
/** Milliseconds after which a process that has claimed a file without sending it must be dead. */
const ABANDONED_AFTER = 60_000;
const HOUR = 3_600_000;
/** Milliseconds after which an event is too old to be useful. */
const MAX_AGE = 7 * 24 * HOUR;

const WAITING = '.envelope';
const SENDING = '.sending';
const TEMPORARY = '.tmp';

/**
 * Alert on `category="error"` only: traces that a tracker rejects are counted, too, as
 * `category="transaction", reason="ratelimit_backoff"`, but are harmless.
 */
export const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'Events and traces that were dropped, and will not reach the tracker',
  labelNames: ['category', 'reason'],
});
// A series that starts at 0 lets increase() see the first loss.
for (const reason of ['network_error', 'send_error', 'queue_overflow', 'ratelimit_backoff'])
  eventsLost.inc({ category: 'error', reason }, 0);

const directories = new Set<string>();

export const eventsWaiting = new Gauge({
  name: 'sentry_events_waiting',
  help: 'Events and traces in the spool directory, which the tracker has not taken yet',
  collect() {
    this.set([...directories].flatMap(envelopesIn).length);
  },
});

/**
 * Makes the transport for `Sentry.init`. Every envelope is a file in the directory until the
 * tracker has accepted it, so that it survives an outage of the tracker, a restart and a `kill -9`.
 * Several processes may share the directory. What exceeds `maxMegabytes` is dropped and counted.
 * Without a directory, the SDK's own transport sends from memory, and what it loses is counted.
 */
export function spoolTransport(directory: string | undefined, { maxMegabytes = 32 } = {}) {
  return (options: Options): Transport => {
    const counting = countLosses(options);
    return directory
      ? new SpoolTransport(counting, directory, maxMegabytes * 2 ** 20)
      : makeMemoryTransport(counting);
  };
}

class SpoolTransport implements Transport {
  readonly #options: Options;
  readonly #directory: string;
  readonly #maxBytes: number;
  /** Written and then renamed, so that an envelope's file is either complete or absent. */
  readonly #temporary = randomUUID() + TEMPORARY;
  #tracker: Transport;
  #connectedAt = performance.now();
  #bytes = 0;
  #queue: string[] = [];
  #pause = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: Options, directory: string, maxBytes: number) {
    this.#options = options;
    this.#maxBytes = maxBytes;
    this.#tracker = connect(options);
    // Events queued for one tracker must not be sent to another.
    const { host, pathname } = new URL(options.url);
    this.#directory = join(directory, (host + pathname).replace(/[^\w.-]+/g, '_'));
    try {
      const probe = `probe${TEMPORARY}`;
      this.#write(probe, '');
      fs.rmSync(this.#path(probe), { force: true });
    } catch (cause) {
      throw new Error(
        `The spool directory ${directory} cannot be written to: ${(cause as Error).message}. ` +
          'Create it and let the user of this process write to it, or configure no directory.',
        { cause },
      );
    }
    directories.add(this.#directory);
    this.#sendIn(0);
  }

  async send(envelope: Envelope) {
    const body = serializeEnvelope(envelope);
    const size = Buffer.byteLength(body);
    // Half of the space is reserved for errors.
    const room = isError(envelope) ? this.#maxBytes : this.#maxBytes / 2;
    try {
      if (this.#bytes + size > room) throw new Error('the limit of megabytes is reached');
      this.#write(`${Date.now()},${size},${randomUUID()}${WAITING}`, body);
      this.#bytes += size;
    } catch (error) {
      warn(`Events are lost, ${this.#directory} takes no more: ${reasonOf(error)}`);
      lose(this.#options, envelope, 'queue_overflow');
    }
    if (this.#pause === 0) this.#sendIn(0);
    return {};
  }

  /** Tries once more, for at most that many milliseconds. True if the queue is empty then. */
  async flush(timeout?: number) {
    const attempt = Promise.resolve(this.#sending).then(() => this.#send());
    await Promise.race([attempt, ...(timeout ? [sleep(timeout, undefined, { ref: false })] : [])]);
    return envelopesIn(this.#directory).length === 0;
  }

  #sendIn(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), delay).unref();
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
      this.#sendIn(this.#pause * (0.5 + Math.random() / 2) || READ_EVERY);
    });
    return this.#sending;
  }

  /** Sends the queue, oldest first, until it is empty or the tracker accepts nothing. */
  async #sendAll(): Promise<void> {
    // The SDK's transport honors even a `Retry-After` of centuries. A new one doesn't know it.
    if (performance.now() - this.#connectedAt > HOUR) {
      this.#tracker = connect(this.#options);
      this.#connectedAt = performance.now();
    }
    for (let waiting = this.#read(); waiting.length > 0; waiting = this.#read()) {
      // A retry continues where the last attempt stopped: events that a tracker always answers with
      // a 500 do not block the others.
      if (this.#queue.length === 0) this.#queue = waiting;
      while (this.#queue.length > 0) {
        const batch = this.#queue.splice(0, PARALLEL);
        const isGone = await Promise.all(batch.map((name) => this.#deliver(name)));
        if (!isGone.includes(true)) {
          this.#pause = Math.min(Math.max(FIRST_PAUSE, 2 * this.#pause), LONGEST_PAUSE);
          return;
        }
        this.#pause = 0;
      }
    }
  }

  /** False if it has to be retried. */
  async #deliver(name: string): Promise<boolean> {
    const body = this.#try(() => this.#claim(name));
    if (!body) return !fs.existsSync(this.#path(name));
    try {
      await this.#post(body, Number.parseInt(name, 10));
    } catch (error) {
      warn(`Events wait for the tracker: ${reasonOf(error)}. Is it up, and SENTRY_DSN right?`);
      this.#try(() => fs.renameSync(this.#path(name + SENDING), this.#path(name)));
      return false;
    }
    this.#try(() => fs.rmSync(this.#path(name + SENDING)));
    this.#bytes -= sizeOf(name);
    return true;
  }

  /** Sends an envelope or drops it for good. Throws if it has to be retried. */
  async #post(body: Buffer, createdAt: number): Promise<void> {
    const envelope = parse(body);
    if (!envelope) return;
    if (Date.now() - createdAt > MAX_AGE) {
      warn('Events are lost, they have waited for a week');
      lose(this.#options, envelope, 'too_old');
      return;
    }
    // Aborting a request is not enough: the SDK waits forever on a 101, or a proxy that never
    // answers.
    const noAnswer = sleep(DEADLINE, undefined, { ref: false }).then(() => {
      throw new Error('no answer');
    });
    // Without a status the SDK has sent nothing: the tracker had limited the category.
    const { statusCode = 429 } = await Promise.race([this.#tracker.send(envelope), noAnswer]);
    if (statusCode === 429 && !isError(envelope)) {
      lose(this.#options, envelope, 'ratelimit_backoff');
    } else if (statusCode >= 400 && statusCode < 500 && ![404, 408, 429].includes(statusCode)) {
      warn(`Events are lost, the tracker answers ${statusCode}. Is SENTRY_DSN right?`);
      lose(this.#options, envelope, 'send_error');
    } else if (statusCode >= 300) {
      // A redirect to a login, or the 404 of a proxy whose container restarts, may be temporary.
      throw new Error(`it answers ${statusCode}`);
    }
  }

  /** The names of queued files, oldest first, including those that dead processes left behind. */
  #read(): string[] {
    const names = namesIn(this.#directory);
    const waiting = names.filter((name) => name.endsWith(WAITING));
    for (const name of names.filter((name) => !name.endsWith(WAITING))) {
      const path = this.#path(name);
      const file = this.#try(() => fs.statSync(path));
      const age = file ? Date.now() - file.mtimeMs : 0;
      if (name.endsWith(TEMPORARY) && age > HOUR) this.#try(() => fs.rmSync(path));
      if (name.endsWith(SENDING) && age > ABANDONED_AFTER) {
        const original = name.slice(0, -SENDING.length);
        this.#try(() => fs.renameSync(path, this.#path(original)));
        waiting.push(original);
      }
    }
    this.#bytes = waiting.reduce((sum, name) => sum + sizeOf(name), 0);
    return waiting.sort();
  }

  /** The process that renames a file first sends it. */
  #claim(name: string): Buffer {
    const now = Date.now() / 1000;
    fs.utimesSync(this.#path(name), now, now);
    fs.renameSync(this.#path(name), this.#path(name + SENDING));
    return fs.readFileSync(this.#path(name + SENDING));
  }

  #write(name: string, body: string | Uint8Array): void {
    makeDirectory(dirname(this.#directory));
    makeDirectory(this.#directory);
    fs.writeFileSync(this.#path(this.#temporary), body, { mode: 0o600 });
    fs.renameSync(this.#path(this.#temporary), this.#path(name));
  }

  #path = (name: string) => join(this.#directory, name);

  #try<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Otherwise another process was faster.
      if (code !== 'ENOENT') warn(`The spool directory ${this.#directory} fails: ${code}`);
      return undefined;
    }
  }
}

/** Not `recursive`: that never returns where nothing can be created, as in /proc on Node 20. */
function makeDirectory(path: string): void {
  if (fs.existsSync(path)) return;
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!fs.existsSync(path)) throw error;
  }
}

function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

const envelopesIn = (directory: string) =>
  namesIn(directory).filter((name) => name.endsWith(WAITING) || name.endsWith(SENDING));

/** The size is in the name: reading it from disk for thousands of files is slow. */
const sizeOf = (name: string) => Number(name.split(',')[1]) || 0;

const isError = ([, [first]]: Envelope) => first?.[0].type === 'event';

function parse(body: Buffer): Envelope | undefined {
  try {
    const envelope = parseEnvelope(body);
    // Trackers correct the times in it by this one.
    envelope[0].sent_at = new Date().toISOString();
    return envelope;
  } catch {
    // For example, the machine lost power while it was written.
    warn('Events are lost, a file in the spool directory was damaged');
    eventsLost.inc({ category: 'error', reason: 'damaged' });
    return undefined;
  }
}

/** The SDK's transport for a single attempt. A failure is not a loss yet. */
function connect(options: Options): Transport {
  const native: typeof http | typeof https = options.url.startsWith('https:') ? https : http;
  const request = (address: http.RequestOptions, callback?: () => void) =>
    native.request({ ...address, signal: AbortSignal.timeout(DEADLINE) }, callback);
  return Sentry.makeNodeTransport({
    ...options,
    // Requests that never end stay in its buffer.
    bufferSize: Number.POSITIVE_INFINITY,
    httpModule: { request } as NonNullable<Options['httpModule']>,
    recordDroppedEvent: () => {},
  });
}

/** The SDK's transport. The only response that it counts as a loss is a 413. */
function makeMemoryTransport(options: Options): Transport {
  const transport = Sentry.makeNodeTransport(options);
  return {
    flush: (timeout) => transport.flush(timeout),
    async send(envelope) {
      const response = await transport.send(envelope);
      const { statusCode = 200 } = response;
      if (statusCode >= 300 && statusCode !== 413) {
        warn(`Events are lost, the tracker answers ${statusCode}. Is SENTRY_DSN right?`);
        lose(options, envelope, statusCode === 429 ? 'ratelimit_backoff' : 'send_error');
      }
      return response;
    },
  };
}

function countLosses(options: Options): Options {
  return {
    ...options,
    recordDroppedEvent(reason, category, count = 1) {
      eventsLost.inc({ category, reason }, count);
      // For the tracker's own statistics.
      options.recordDroppedEvent(reason, category, count);
    },
  };
}

function lose({ recordDroppedEvent }: Options, envelope: Envelope, reason: Reason): void {
  forEachEnvelopeItem(envelope, ([header], type) => {
    // It is itself a report of losses.
    if (type === 'client_report') return;
    const count = 'item_count' in header ? Number(header.item_count) : 1;
    recordDroppedEvent(reason as 'send_error', categoryOf(type), count);
  });
}

/**
 * Without the paths in a file system's error; if several addresses failed, there is only a code.
 */
const reasonOf = (error: unknown) =>
  (error as Error).message.split(',')[0] || (error as NodeJS.ErrnoException).code;

const warnedAt = new Map<string, number>();

/** Logs the same warning at most once an hour. */
function warn(text: string): void {
  const last = warnedAt.get(text);
  if (last !== undefined && performance.now() - last < HOUR) return;
  warnedAt.set(text, performance.now());
  process.emitWarning(text, { code: 'SENTRY_SPOOL' });
}
