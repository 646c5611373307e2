import { createHash, randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Milliseconds between two signs of life, and without one until a process counts as dead. */
const SIGN_OF_LIFE = 5_000;
const DEAD_AFTER = 30_000;
const FOLDER = /^[0-9a-f-]{36}(\.left)?$/;

/** One envelope in the spool. */
export interface Saved {
  file: string;
  category: string;
  since: number;
  /** Null if what is in the file is not what was written. */
  body: Buffer | null;
}

/**
 * A folder for what waits, one file for each envelope, so that it outlives the process. Each process
 * has a folder of its own in it, and renews its time as long as it lives. What a process left behind
 * is moved to its own by the first that finds it: of two that rename a file, one succeeds.
 */
export class Spool {
  readonly #root: string;
  readonly #own: string;
  readonly #take: (saved: Saved) => void;
  readonly #timer: NodeJS.Timeout;
  #taking = false;

  /**
   * @param take gets what other processes left behind, now and as it is found.
   * @throws if the folder cannot be written to.
   */
  constructor(root: string, take: (saved: Saved) => void) {
    this.#root = root;
    this.#own = join(root, randomUUID());
    this.#take = take;
    this.#giveSignOfLife();
    this.#timer = setInterval(() => {
      try {
        this.#giveSignOfLife();
      } catch {
        // A full disk, say: what cannot be saved then is named in the log by who wants to save it.
      }
    }, SIGN_OF_LIFE).unref();
  }

  /** Writes an envelope so that it is there as a whole or not at all. */
  save(body: Buffer, category: string, since: number): string {
    const file = join(this.#own, nameOf(body, category, since));
    fs.writeFileSync(`${file}.tmp`, body, { mode: 0o600 });
    fs.renameSync(`${file}.tmp`, file);
    return file;
  }

  remove(file: string): void {
    fs.rmSync(file, { force: true });
  }

  /** Puts a damaged file where nobody reads it again, and returns its new name. */
  setAside(file: string): string {
    const aside = join(this.#root, `${basename(file)}.damaged`);
    fs.renameSync(file, aside);
    return aside;
  }

  /** Leaves what is in the folder to the next process. */
  close(): void {
    clearInterval(this.#timer);
    if (fs.readdirSync(this.#own).length === 0) fs.rmdirSync(this.#own);
    else fs.renameSync(this.#own, `${this.#own}.left`);
  }

  #giveSignOfLife(): void {
    fs.mkdirSync(this.#own, { recursive: true, mode: 0o700 });
    fs.utimesSync(this.#own, new Date(), new Date());
    if (!this.#taking) void this.#takeOver();
  }

  async #takeOver(): Promise<void> {
    this.#taking = true;
    for (const folder of fs.readdirSync(this.#root)) {
      const path = join(this.#root, folder);
      if (!FOLDER.test(folder) || path === this.#own) continue;
      try {
        const isDead = Date.now() - fs.statSync(path).mtimeMs > DEAD_AFTER;
        if (!isDead && !folder.endsWith('.left')) continue;
        for (const name of fs.readdirSync(path).sort()) {
          const file = join(this.#own, name.replace(/\.tmp$/, ''));
          fs.renameSync(join(path, name), file);
          this.#take(read(file));
          // There may be thousands: requests come first.
          await nextTurn();
        }
        fs.rmdirSync(path);
      } catch {
        // Another process was faster. What is left is looked at again in some seconds.
      }
    }
    this.#taking = false;
  }
}

/** A name in the order of time, which also tells whether the file is as it was written. */
function nameOf(body: Buffer, category: string, since: number): string {
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16);
  return `${since}-${category}-${hash}.envelope`;
}

function read(file: string): Saved {
  const body = fs.readFileSync(file);
  const name = basename(file);
  const [, time, category = 'unknown'] = /^(\d+)-([a-z_]+)-/.exec(name) ?? [];
  const since = Number(time ?? Date.now());
  return { file, category, since, body: nameOf(body, category, since) === name ? body : null };
}
