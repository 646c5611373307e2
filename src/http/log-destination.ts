import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';

const STDOUT = 1;
/** Milliseconds that a line waits at most for a slow reader of the log. */
const PATIENCE = 1_000;
const PAUSE = 10;

/**
 * Standard output for the log, which never stops the service: a line that cannot be written, to a
 * full disk or to a reader that does not read, is left out. pino's own destination keeps such lines,
 * throws, and tries for ever to write them when the process ends.
 */
export function logDestination(): Writable {
  let isCut = false;
  let isStuck = false;

  const writeLine = (line: Buffer) => {
    let rest = isCut ? Buffer.concat([Buffer.from('\n'), line]) : line;
    const wholeLength = rest.length;
    const deadline = performance.now() + (isStuck ? 0 : PATIENCE);
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(STDOUT, rest));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        isStuck = code === 'EAGAIN';
        if (isStuck && performance.now() < deadline) {
          pause();
          continue;
        }
        // The next line is not to continue this one.
        isCut ||= rest.length < wholeLength;
        return;
      }
    }
    isCut = false;
    isStuck = false;
  };

  return new Writable({
    write(line, _encoding, done) {
      writeLine(line);
      done();
    },
  });
}

/** Holds the process, as every write to a log does. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
}
