/** What can be thrown, and cannot be read: getters that throw, proxies, symbols. */

/** The error itself, or a copy with what can be read of it: the SDK fails on others, or drops them. */
export function readable(error: unknown): unknown {
  return isReadable(error) ? error : copyOf(error);
}

/** An error with the message and the stack of another, as far as those can be read. */
export function copyOf(error: unknown): Error {
  const copy = new Error();
  copy.message = read(() => String(isObject(error) ? error.message : error), 'message');
  copy.stack = read(() => String((error as Error).stack), 'stack');
  return copy;
}

/** An error, what caused it, what caused that and so on, as far as that can be read. */
export function chainOf(error: unknown): unknown[] {
  const chain: unknown[] = [];
  try {
    for (let next = error; next && !chain.includes(next); next = (next as Error).cause) {
      chain.push(next);
    }
  } catch {
    // A getter that throws: that is where it ends.
  }
  return chain;
}

const isObject = (error: unknown): error is Error => typeof error === 'object' && error !== null;

function read(property: () => string, name: string): string {
  try {
    return property();
  } catch {
    return `The ${name} of this error cannot be read.`;
  }
}

/** Reads what the SDK reads: of the error, of its causes and of the errors that it gathers. */
function isReadable(error: unknown, seen = new Set<unknown>()): boolean {
  if (typeof error === 'symbol') return false;
  if (!isObject(error) || seen.has(error)) return true;
  seen.add(error);
  try {
    const { name, message, stack, cause, errors } = error as Partial<AggregateError>;
    // Asks for the prototype, which a proxy can refuse; these are turned into text.
    void [error instanceof Error, String(name), String(message), String(stack)];
    const gathered = Array.isArray(errors) ? errors : [];
    return [cause, ...gathered].every((other) => isReadable(other, seen));
  } catch {
    return false;
  }
}
