import type { Summary } from './statistics.ts';

/** How many times bare each of this project's variants cost when it was committed, by name. */
export type Baseline = Record<string, number>;

interface Row {
  name: string;
  ratio: Summary;
}

/** A machine that does other things at the same time shifts a ratio, but not by half. */
const TOLERANCE = 1.5;

export function toBaseline(rows: Row[], names: string[]): Baseline {
  return Object.fromEntries(
    rows
      .filter(({ name }) => names.includes(name))
      .map(({ name, ratio }) => [name, Number(ratio.median.toFixed(2))]),
  );
}

/** One line for each ratio that is worse than the committed one by more than half, or is missing. */
export function regressions(rows: Row[], baseline: Baseline): string[] {
  return Object.entries(baseline).flatMap(([name, committed]) => {
    const row = rows.find((row) => row.name === name);
    if (!row) return [`${name} was not measured; the committed ratio is ${committed}.`];
    const ratio = row.ratio.median;
    if (ratio <= committed * TOLERANCE) return [];
    return [`${name} costs ${ratio.toFixed(2)} times bare; the committed ratio is ${committed}.`];
  });
}
