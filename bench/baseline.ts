import type { Summary } from './statistics.ts';

/** How many times bare each of this project's variants cost when it was committed, by name. */
export type Baseline = Record<string, number>;

interface Row {
  name: string;
  ratio: Summary;
}

/** What a machine that does other things at the same time shifts even the best round by at most. */
const TOLERANCE = 1.5;

export function toBaseline(rows: Row[], names: string[]): Baseline {
  return Object.fromEntries(
    rows
      .filter(({ name }) => names.includes(name))
      .map(({ name, ratio }) => [name, Number(ratio.median.toFixed(2))]),
  );
}

/** One line for each ratio that is worse than the committed one by more than half in every round, or is missing. */
export function regressions(rows: Row[], baseline: Baseline): string[] {
  return Object.entries(baseline).flatMap(([name, committed]) => {
    const row = rows.find((row) => row.name === name);
    if (!row) return [`${name} was not measured; the committed ratio is ${committed}.`];
    const { min, median } = row.ratio;
    if (min <= committed * TOLERANCE) return [];
    return [
      `${name} costs ${median.toFixed(2)} times bare, and ${min.toFixed(2)} at best; ` +
        `the committed ratio is ${committed}.`,
    ];
  });
}
