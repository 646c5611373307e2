/**
 * Optional: a transport for `Sentry.init` that loses no event while the tracker is unreachable. To do
 * without it, delete this file and the line that uses it.
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as Sentry from '@sentry/node';
import { Counter, Gauge } from 'prom-client';

type Transport = ReturnType<typeof Sentry.makeNodeTransport>;
type Envelope = Parameters<Transport['send']>[0];
type Options = Parameters<typeof Sentry.makeNodeTransport>[0];
type SdkReason = Parameters<Options['recordDroppedEvent']>[0];
/** The SDK's words, and one of our own. */
type Reason = SdkReason | 'too_old';
type Category = Parameters<Options['recordDroppedEvent']>[1];

/** How many requests to the tracker may be in flight. */
const PARALLEL = 10;
/** Milliseconds until a request is aborted. The SDK itself sets no limit. */
const TIMEOUT = 10_000;
/** Milliseconds until the first retry, and the most between two. They double in between. */
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 30_000;
/** Milliseconds until the directory is read again, for what other processes have left there. */
const READ_INTERVAL = 5_000;
/** Milliseconds after which a process that has claimed a file, and not sent it, must be dead. */
const CLAIM_EXPIRY = 60_000;
const HOUR = 3_600_000;
/** Milliseconds after which an event is no longer of use. */
const MAX_AGE = 7 * 24 * HOUR;

/** By category: the traces that a tracker refuses are counted, too, and are no reason for an alert. */
export const eventsLost = new Counter({
  name: 'sentry_events_lost_total',
  help: 'Events and traces that were dropped, and will not reach the tracker',
  labelNames: ['category', 'reason'],
});
// A series that starts at 0 lets increase() see the first loss.
for (const reason of ['network_error', 'send_error', 'queue_overflow', 'ratelimit_backoff']) {
  eventsLost.inc({ category: 'error', reason }, 0);
}

const directories = new Set<string>();

export const eventsWaiting = new Gauge({
  name: 'sentry_events_waiting',
  help: 'Events and traces in the spool directory, which the tracker has not accepted yet',
  collect() {
    this.set([...directories].flatMap(filesIn).length);
  },
});

/**
 * Makes a transport that stores every envelope as a file until the tracker has accepted it: it survives
 * an outage of the tracker, a restart and `kill -9`. Processes may share the directory. Each drops and
 * counts what exceeds `maxMegabytes`. Without a directory, the SDK's own transport sends from memory,
 * and what it loses is counted.
 */
export function spoolTransport(directory: string | undefined, { maxMegabytes = 32 } = {}) {
  return (options: Options): Transport =>
    directory
      ? new SpoolTransport(options, directory, maxMegabytes * 2 ** 20)
      : makeMemoryTransport(options);
}

/** A file's name: `<when to send it>,<when it was created>,<bytes>,<id>`, and `,<when>` if it is claimed. */
interface SpoolFile {
  name: string;
  createdAt: number;
  size: number;
  claimedAt: number | undefined;
}

class SpoolTransport implements Transport {
  readonly #options: Options;
  readonly #directory: string;
  readonly #maxBytes: number;
  #tracker: Transport;
  #connectedAt = performance.now();
  #bytes = 0;
  #pause = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: Options, directory: string, maxBytes: number) {
    this.#options = options;
    this.#maxBytes = maxBytes;
    this.#tracker = connect(options);
    // What is queued for one tracker must not be sent to another.
    const { host, pathname } = new URL(options.url);
    this.#directory = join(directory, (host + pathname).replace(/[^\w.-]+/g, '_'));
    try {
      if (!fs.existsSync(this.#directory)) fs.mkdirSync(this.#directory, { mode: 0o700 });
      fs.accessSync(this.#directory, fs.constants.W_OK);
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
    // Half of the room is for errors alone.
    const room = isError(envelope) ? this.#maxBytes : this.#maxBytes / 2;
    try {
      const body = serialize(envelope);
      const size = Buffer.byteLength(body);
      if (this.#bytes + size > room) throw new Error('the limit of megabytes is reached');
      const name = `${Date.now()},${Date.now()},${size},${randomUUID()}`;
      // As claimed until it is complete, so that nobody sends half of it.
      const claimed = this.#path(`${name},${Date.now()}`);
      fs.writeFileSync(claimed, body, { mode: 0o600 });
      fs.renameSync(claimed, this.#path(name));
      this.#bytes += size;
    } catch (error) {
      warn(`Events are lost, ${this.#directory} accepts no more: ${reasonOf(error)}`);
      lose(this.#options, envelope, 'queue_overflow');
    }
    if (this.#pause === 0) this.#sendIn(0);
    return {};
  }

  /** Makes one more attempt, for at most `timeout` milliseconds. True if nothing is left. */
  async flush(timeout?: number) {
    const attempt = Promise.resolve(this.#sending).then(() => this.#send());
    await Promise.race([attempt, ...(timeout ? [sleep(timeout, undefined, { ref: false })] : [])]);
    return filesIn(this.#directory).length === 0;
  }

  #sendIn(delay: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), delay).unref();
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
      this.#sendIn(this.#pause * (0.5 + Math.random() / 2) || READ_INTERVAL);
    });
    return this.#sending;
  }

  /** Sends what is queued, the oldest first, until nothing is left or the tracker accepts nothing. */
  async #sendAll(): Promise<void> {
    // The SDK's transport obeys any Retry-After, however long. A new one has forgotten it.
    if (performance.now() - this.#connectedAt > HOUR) {
      this.#tracker = connect(this.#options);
      this.#connectedAt = performance.now();
    }
    for (let queue = this.#read(); queue.length > 0; queue = this.#read()) {
      while (queue.length > 0) {
        const batch = queue.splice(0, PARALLEL);
        const isDone = await Promise.all(batch.map((file) => this.#deliver(file)));
        if (!isDone.includes(true)) {
          this.#pause = Math.min(Math.max(FIRST_PAUSE, 2 * this.#pause), LONGEST_PAUSE);
          return;
        }
        this.#pause = 0;
      }
    }
  }

  /** The files to send, with those that dead processes had claimed. */
  #read(): SpoolFile[] {
    const files = filesIn(this.#directory);
    this.#bytes = files.reduce((sum, { size }) => sum + size, 0);
    return files
      .filter(({ claimedAt = 0 }) => Date.now() - claimedAt > CLAIM_EXPIRY)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** False if it has to be tried again. */
  async #deliver({ name, createdAt, size }: SpoolFile): Promise<boolean> {
    const original = name.split(',').slice(0, 4).join(',');
    const claimed = this.#path(`${original},${Date.now()}`);
    let body: string;
    try {
      // Whoever renames a file first sends it.
      fs.renameSync(this.#path(name), claimed);
      body = fs.readFileSync(claimed, 'utf8');
    } catch {
      return !fs.existsSync(this.#path(name));
    }
    try {
      await this.#post(body, createdAt);
      fs.rmSync(claimed, { force: true });
      this.#bytes -= size;
      return true;
    } catch (error) {
      warn(
        `Events are queued for the tracker: ${reasonOf(error)}. Is it up, and SENTRY_DSN right?`,
      );
      // Behind the others, which it must not hold up if the tracker always fails on it.
      const last = original.replace(/^\d+/, String(Date.now()));
      if (fs.existsSync(claimed)) fs.renameSync(claimed, this.#path(last));
      return false;
    }
  }

  /** Sends an envelope or drops it for good. Throws if it has to be tried again. */
  async #post(body: string, createdAt: number): Promise<void> {
    const envelope = parse(body);
    if (!envelope) return;
    if (Date.now() - createdAt > MAX_AGE) {
      warn('Events are lost, they were queued for a week');
      return lose(this.#options, envelope, 'too_old');
    }
    // Aborting a request is not enough: the SDK waits forever on a 101, or a proxy that never answers.
    const noAnswer = sleep(TIMEOUT, undefined, { ref: false }).then(() => {
      throw new Error('no answer');
    });
    // Without a status the SDK has sent nothing, because the category is rate limited.
    const { statusCode = 429 } = await Promise.race([this.#tracker.send(envelope), noAnswer]);
    if (statusCode === 429 && !isError(envelope)) {
      lose(this.#options, envelope, 'ratelimit_backoff');
    } else if (statusCode >= 400 && statusCode < 500 && ![404, 408, 429].includes(statusCode)) {
      warn(`Events are lost, the tracker answers ${statusCode}. Is SENTRY_DSN right?`);
      lose(this.#options, envelope, 'send_error');
    } else if (statusCode >= 300) {
      // A redirect to a login, or the 404 of a proxy whose container restarts, may be over soon.
      throw new Error(`it answers ${statusCode}`);
    }
  }

  #path = (name: string) => join(this.#directory, name);
}

function filesIn(directory: string): SpoolFile[] {
  const names = fs.existsSync(directory) ? fs.readdirSync(directory) : [];
  return names.flatMap((name) => {
    const [, createdAt, size, id, claimedAt] = name.split(',');
    if (!id) return [];
    return [
      {
        name,
        createdAt: Number(createdAt),
        size: Number(size),
        claimedAt: claimedAt ? Number(claimedAt) : undefined,
      },
    ];
  });
}

/** As JSON, with attachments in base64. */
function serialize([header, items]: Envelope): string {
  const isBinary = (payload: unknown) => payload instanceof Uint8Array;
  const base64 = (payload: unknown) => Buffer.from(payload as Uint8Array).toString('base64');
  return JSON.stringify([
    header,
    items.map(([item, payload]) => [
      item,
      isBinary(payload) ? { base64: base64(payload) } : payload,
    ]),
  ]);
}

function parse(body: string): Envelope | undefined {
  try {
    const [header, items] = JSON.parse(body);
    for (const item of items) {
      const [{ type }, payload] = item;
      if (type === 'attachment' && payload.base64) item[1] = Buffer.from(payload.base64, 'base64');
    }
    // Trackers correct the times in it by this one.
    return [{ ...header, sent_at: new Date().toISOString() }, items];
  } catch {
    // Its process was killed while it was being written, or the machine lost power.
    warn('Events are lost, a file in the spool directory was damaged');
    eventsLost.inc({ category: 'error', reason: 'damaged' });
    return undefined;
  }
}

const isError = ([, [first]]: Envelope) => first?.[0].type === 'event';

/** The SDK's transport for one attempt. A failure is retried here, so it isn't counted as a drop. */
function connect(options: Options): Transport {
  const native: typeof http | typeof https = options.url.startsWith('https:') ? https : http;
  const request = (address: http.RequestOptions, callback?: () => void) =>
    native.request({ ...address, signal: AbortSignal.timeout(TIMEOUT) }, callback);
  return Sentry.makeNodeTransport({
    ...options,
    // Requests that never end stay in its buffer.
    bufferSize: Number.POSITIVE_INFINITY,
    httpModule: { request } as NonNullable<Options['httpModule']>,
    recordDroppedEvent: () => {},
  });
}

function makeMemoryTransport(options: Options): Transport {
  const transport = Sentry.makeNodeTransport({
    ...options,
    recordDroppedEvent: (reason, category, count) => countLoss(options, reason, category, count),
  });
  return {
    flush: (timeout) => transport.flush(timeout),
    async send(envelope) {
      const response = await transport.send(envelope);
      const { statusCode = 200 } = response;
      // Of all answers, the SDK takes only 413 for a loss.
      if (statusCode >= 300 && statusCode !== 413) {
        warn(`Events are lost, the tracker answers ${statusCode}. Is SENTRY_DSN right?`);
        lose(options, envelope, statusCode === 429 ? 'ratelimit_backoff' : 'send_error');
      }
      return response;
    },
  };
}

/** Counts each item of an envelope. */
function lose(options: Options, [, items]: Envelope, reason: Reason): void {
  for (const [{ type }] of items) {
    // A client report is itself a report of losses.
    if (type === 'client_report') continue;
    const category = (type === 'event' ? 'error' : type) as Category;
    countLoss(options, reason, category);
  }
}

/** In the metric, and for the SDK's own report to the tracker. */
function countLoss(options: Options, reason: Reason, category: Category, count = 1): void {
  eventsLost.inc({ category, reason }, count);
  options.recordDroppedEvent(reason as SdkReason, category, count);
}

/** Without the paths of a file system's error; if several addresses failed, there is only a code. */
const reasonOf = (error: unknown) =>
  (error as Error).message.split(',')[0] || (error as NodeJS.ErrnoException).code;

const warnedAt = new Map<string, number>();

/** Warns of the same at most once an hour. */
function warn(text: string): void {
  const last = warnedAt.get(text);
  if (last !== undefined && performance.now() - last < HOUR) return;
  warnedAt.set(text, performance.now());
  process.emitWarning(text, { code: 'SENTRY_SPOOL' });
}
