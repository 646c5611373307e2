import { variants } from './variants.ts';

function numberFrom(name: string, fallback: number): number {
  const value = Number(process.env[name] || fallback);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`${name} is "${process.env[name]}", but takes a whole number above 0.`);
  process.exit(1);
}

/** The named variants, in the order of the table, bare always first: it is the measure of the rest. */
function variantsFrom(name: string, fallback: string[]) {
  const names = process.env[name]?.split(',') ?? fallback;
  const unknown = names.filter((name) => !variants.some((variant) => variant.name === name));
  if (unknown.length > 0) {
    const known = variants.map((variant) => variant.name).join(', ');
    console.error(`${name} has "${unknown}" in it, but takes names among ${known}.`);
    process.exit(1);
  }
  return variants.filter((variant) => variant.name === 'bare' || names.includes(variant.name));
}

export interface Defaults {
  rounds: number;
  seconds: number;
  /** Requests before the measurement. */
  warmUp?: number;
  /** Without variants a section measures something else. */
  variants?: string[];
}

/** What BENCH_ROUNDS and the others in the environment say; otherwise what a section asks for. */
export function readSettings(defaults: Defaults) {
  return {
    rounds: numberFrom('BENCH_ROUNDS', defaults.rounds),
    seconds: numberFrom('BENCH_SECONDS', defaults.seconds),
    connections: numberFrom('BENCH_CONNECTIONS', 64),
    requests: numberFrom('BENCH_REQUESTS', 1_000_000),
    warmUp: defaults.warmUp ?? 10_000,
    variants: variantsFrom('BENCH_VARIANTS', defaults.variants ?? []),
  };
}

export type Settings = ReturnType<typeof readSettings>;
