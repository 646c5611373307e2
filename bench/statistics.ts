/** The middle of several measurements, and how far apart they are. */
export interface Summary {
  median: number;
  min: number;
  max: number;
}

export function summarize(values: number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] as number;
  const last = sorted.length - 1;
  return {
    median: (at(Math.floor(last / 2)) + at(Math.ceil(last / 2))) / 2,
    min: at(0),
    max: at(last),
  };
}

/** How many times the base each measurement is, both taken in the same round. */
export function ratios(values: number[], base: number[]): number[] {
  return values.map((value, round) => value / (base[round] as number));
}

/** The list, starting at a different place in each round, so that no variant always comes first. */
export function rotate<T>(list: T[], round: number): T[] {
  const first = round % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}
