import { setTimeout as sleep } from 'node:timers/promises';

/** Repeats an assertion until it passes; the last failure is the test's, after `seconds`. */
export async function eventually<T>(assertion: () => T | Promise<T>, seconds = 10): Promise<T> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
