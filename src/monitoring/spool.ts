import { createHash, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyBaseLogger } from 'fastify';
import { countLoss } from './losses.ts';

/** Milliseconds between two looks at the folder. With each a process also says that it lives. */
const LOOK_EVERY = 5_000;
/** How many looks in a row find no new sign of life of a process that is dead. */
const DEAD_AFTER = 6;
/** Milliseconds in which a failing disk is logged once. */
const COMPLAIN_EVERY = 3_600_000;
/** What fails if another process was faster. */
const RACE = ['ENOENT', 'ENOTEMPTY'];
const FOLDER = /^[0-9a-f-]{36}(\.left)?$/;

/** One envelope that another process left behind, and the milliseconds since it was made. */
export interface Saved {
  body: Buffer;
  file: string;
  age: number;
}

export interface SpoolOptions {
  root: string;
  /** What waits for another tracker has another folder. */
  tracker: string;
  log: FastifyBaseLogger;
  /** What there is no room for is left to a later look, or another process. */
  hasRoom: (bytes: number) => boolean;
  take: (saved: Saved) => void;
}

/**
 * A folder for what waits, one file for each envelope, so that it outlives the process. Each process
 * has a folder of its own in it, and renews its time as long as it lives. What a process left behind
 * is moved to its own by the first that finds it: of two that rename a file, one succeeds.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #folder: string;
  readonly #own: string;
  readonly #timer: NodeJS.Timeout;
  /** The last sign of life of the others, and how many looks found no new one. */
  readonly #signs = new Map<string, { time: number; looks: number }>();
  #quietUntil = 0;
  #isLooking = false;
  #bytesLeft = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#folder = join(options.root, options.tracker.replace(/[^\w.-]+/g, '_'));
    this.#own = join(this.#folder, randomUUID());
    void this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY).unref();
  }

  /** What others left and nobody has had room for, so far as it is known. */
  get bytesLeft(): number {
    return this.#bytesLeft;
  }

  /** Writes an envelope so that it is there as a whole or not at all; undefined if that failed. */
  save(body: Buffer, age: number): string | undefined {
    const file = join(this.#own, nameOf(body, Math.round(Date.now() - age)));
    return this.#try(() => {
      try {
        makeFolder(this.#own);
        fs.writeFileSync(`${file}.tmp`, body, { mode: 0o600 });
        fs.renameSync(`${file}.tmp`, file);
        return file;
      } catch (error) {
        fs.rmSync(`${file}.tmp`, { force: true });
        throw error;
      }
    });
  }

  remove(file: string): void {
    this.#try(() => fs.rmSync(file, { force: true }));
  }

  /** Leaves what is in the folder to the next process. */
  close(): void {
    clearInterval(this.#timer);
    this.#try(() => {
      if (fs.readdirSync(this.#own).length === 0) fs.rmdirSync(this.#own);
      else fs.renameSync(this.#own, `${this.#own}.left`);
    }, ['ENOENT']);
  }

  async #look(): Promise<void> {
    this.#try(() => {
      makeFolder(this.#own);
      fs.utimesSync(this.#own, new Date(), new Date());
    });
    if (this.#isLooking) return;
    this.#isLooking = true;
    // The constructor calls this, and `take` needs the spool that it makes.
    await nextTurn();
    const left = (this.#try(() => fs.readdirSync(this.#folder), ['ENOENT']) ?? [])
      .map((name) => join(this.#folder, name))
      .filter((path) => FOLDER.test(basename(path)) && path !== this.#own)
      .flatMap((folder) => this.#leftIn(folder));
    this.#bytesLeft = left.flatMap(({ names }) => names.map(sizeOf)).reduce((a, b) => a + b, 0);
    for (const { folder, names } of left) await this.#takeOver(folder, names);
    this.#isLooking = false;
  }

  /** What is in a folder whose process does not live any more, in the order of time. */
  #leftIn(folder: string): { folder: string; names: string[] }[] {
    const left = folder.endsWith('.left') ? folder : `${folder}.left`;
    const names = this.#try(() => {
      if (left !== folder && !this.#isDead(folder)) return undefined;
      fs.renameSync(folder, left);
      return fs.readdirSync(left).sort();
    }, RACE);
    return names ? [{ folder: left, names }] : [];
  }

  async #takeOver(folder: string, names: string[]): Promise<void> {
    for (const name of names) {
      const isFull = this.#try(() => this.#takeFile(join(folder, name)) === 'no room', RACE);
      if (isFull) return;
      this.#bytesLeft -= sizeOf(name);
      // There may be thousands: requests come first.
      await nextTurn();
    }
    this.#try(() => fs.rmdirSync(folder), RACE);
  }

  /** The clocks of two processes may differ, so that any other time is a sign of life. */
  #isDead(folder: string): boolean {
    const time = fs.statSync(folder).mtimeMs;
    const last = this.#signs.get(folder);
    const looks = last?.time === time ? last.looks + 1 : 0;
    this.#signs.set(folder, { time, looks });
    return looks >= DEAD_AFTER;
  }

  #takeFile(file: string): 'no room' | undefined {
    const { root, log, hasRoom, take } = this.#options;
    if (!hasRoom(fs.statSync(file).size)) return 'no room';
    // Before it is moved: what cannot be read now is looked for again where it is.
    const body = fs.readFileSync(file);
    const name = basename(file, '.tmp');
    const time = Number.parseInt(name, 10);
    const isDamaged = nameOf(body, time) !== name;
    const target = isDamaged ? join(root, `${name}.damaged`) : join(this.#own, name);
    fs.renameSync(file, target);
    if (!isDamaged) {
      take({ body, file: target, age: Math.max(0, Date.now() - time) });
    } else {
      countLoss('error', 'damaged');
      log.error({ file: target }, 'a file of the spool is damaged, and was set aside');
    }
    return undefined;
  }

  /** Works on the disk, whose failure is no reason to fail with it. */
  #try<T>(work: () => T, harmless: string[] = []): T | undefined {
    try {
      return work();
    } catch (err) {
      const { code = '' } = err as NodeJS.ErrnoException;
      if (harmless.includes(code) || performance.now() < this.#quietUntil) return undefined;
      this.#quietUntil = performance.now() + COMPLAIN_EVERY;
      const { root, log } = this.#options;
      log.error({ err }, `${root} cannot be used: what waits may be in memory only`);
      return undefined;
    }
  }
}

/** `mkdir` with `recursive` never ends where no folder can be made, as in /proc. */
function makeFolder(path: string): void {
  if (fs.existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    fs.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have been faster.
    if (!fs.existsSync(path)) throw error;
  }
}

/** A name in the order of time, which also tells the size, and whether the file is as it was written. */
function nameOf(body: Buffer, time: number): string {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
  return `${time}-${body.length}-${hash}.envelope`;
}

/** The bytes of an envelope by the name of its file: to ask for each of thousands takes long. */
const sizeOf = (name: string) => Number(name.split('-')[1]) || 0;
