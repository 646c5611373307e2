import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { load } from './load.ts';
import { type Load, PAGE, perRequest, startVariant, turn, warmUp, withVariant } from './measure.ts';
import { run } from './processes.ts';
import type { Server, Sink } from './server.ts';
import type { Defaults, Settings } from './settings.ts';
import { differences, ratios, rotate, type Summary, summarize } from './statistics.ts';
import { type Variant, variants } from './variants.ts';

const ALL = variants.map(({ name }) => name);

export type Row = Record<string, string | number | Summary>;

export interface Context {
  settings: Settings;
  sink: Sink;
  /** Why a variant is missing from the table, by its name. */
  notRun: Record<string, string>;
  progress(...columns: string[]): void;
}

export interface Section {
  title: string;
  /** The table's headings, by the names that the values have in a row. */
  columns: Record<string, string>;
  defaults: Defaults;
  /** The settings that its numbers depend on. */
  conditions: ('rounds' | 'seconds' | 'connections' | 'requests')[];
  measure(context: Context): Promise<Row[]>;
}

interface Runner {
  variant: Variant;
  server: Server;
  /** Requests per second when it was warm. */
  rate: number;
  turns: Awaited<ReturnType<typeof turn>>[];
}

/** Seconds that a server is loaded before it is another one's turn. */
const TURN = 2;

/** A variant that fails is named and left out from there on, so that a long run is not lost. */
async function attempt(
  { notRun }: Context,
  results: Map<Variant, unknown>,
  variant: Variant,
  action: () => Promise<unknown>,
) {
  try {
    if (results.has(variant)) await action();
  } catch (error) {
    if (variant.name === 'bare') throw error;
    notRun[variant.name] = (error as Error).message;
    results.delete(variant);
  }
}

/**
 * Loads all variants by turns, in each round with servers started for it alone: what slows the
 * machine for longer than a turn slows all of them.
 */
async function byTurns(context: Context, variants: Variant[], load: Load) {
  const { settings, sink, progress } = context;
  const results = new Map<Variant, ReturnType<typeof perRequest>[]>(
    variants.map((variant) => [variant, []]),
  );
  for (let round = 0; round < settings.rounds; round++) {
    const runners: Runner[] = [];
    try {
      for (const variant of rotate([...results.keys()], round)) {
        await attempt(context, results, variant, async () => {
          const server = await startVariant(variant, sink.project().dsn);
          const runner: Runner = { variant, server, rate: 0, turns: [] };
          runners.push(runner);
          runner.rate = await warmUp(server, load);
        });
      }
      for (let second = 0; second < settings.seconds; second += TURN) {
        for (const { variant, server, rate, turns } of rotate(runners, second)) {
          await attempt(context, results, variant, async () =>
            turns.push(await turn(server, load, rate * TURN)),
          );
        }
      }
    } finally {
      await Promise.all(runners.map(({ server }) => server.stop()));
    }
    for (const { variant, turns } of runners.filter(({ variant }) => results.has(variant))) {
      const result = perRequest(turns);
      results.get(variant)?.push(result);
      progress(
        `round ${round + 1} of ${settings.rounds}`,
        variant.name,
        `${Math.round(result.cpuMicroseconds)} µs, ${Math.round(result.requestsPerSecond)} requests per second`,
      );
    }
  }
  return results;
}

async function costRows(context: Context, connections: number): Promise<Row[]> {
  const { settings } = context;
  const results = await byTurns(context, settings.variants, { ...settings, connections });
  const cpu = new Map(
    [...results].map(([variant, list]) => [variant, list.map((one) => one.cpuMicroseconds)]),
  );
  const bare = cpu.get(settings.variants[0] as Variant) as number[];

  return [...results].map(([variant, list]) => {
    const microseconds = cpu.get(variant) as number[];
    return {
      name: variant.name,
      title: variant.title,
      connections,
      cpuMicroseconds: summarize(microseconds),
      ratio: summarize(ratios(microseconds, bare)),
      added: summarize(differences(microseconds, bare)),
      requestsPerSecond: summarize(list.map((one) => one.requestsPerSecond)),
      cores: summarize(list.map((one) => one.cores)),
    };
  });
}

const COST_COLUMNS = {
  title: 'Variant',
  cpuMicroseconds: 'CPU µs per request',
  ratio: 'x bare',
  added: 'µs more than bare',
  requestsPerSecond: 'requests per second',
  cores: 'cores',
};

const cost: Section = {
  title: 'Cost of a request',
  columns: COST_COLUMNS,
  defaults: { rounds: 5, seconds: 10, variants: ALL },
  conditions: ['rounds', 'seconds', 'connections'],
  measure: (context) => costRows(context, context.settings.connections),
};

const connections: Section = {
  title: 'Cost of a request, from 1 to 1,000 connections',
  columns: { connections: 'Connections', ...COST_COLUMNS },
  defaults: { rounds: 3, seconds: 5, variants: ['bare', 'ships', 'sdk-defaults'] },
  conditions: ['rounds', 'seconds'],
  async measure(context) {
    const rows: Row[] = [];
    for (const count of [1, 10, 100, 1000]) {
      context.progress(`${count} connections`);
      rows.push(...(await costRows(context, count)));
    }
    return rows;
  },
};

const startup: Section = {
  title: 'From start to the first answer',
  columns: { title: 'Variant', milliseconds: 'ms' },
  defaults: { rounds: 5, seconds: 1, variants: ALL },
  conditions: ['rounds'],
  async measure(context) {
    const { settings, sink, progress } = context;
    const results = new Map<Variant, number[]>(settings.variants.map((variant) => [variant, []]));
    for (let round = 0; round < settings.rounds; round++) {
      for (const variant of rotate([...results.keys()], round)) {
        await attempt(context, results, variant, () =>
          withVariant(variant, sink.project().dsn, async ({ secondsToFirstAnswer }) => {
            const milliseconds = secondsToFirstAnswer * 1000;
            results.get(variant)?.push(milliseconds);
            progress(
              `round ${round + 1} of ${settings.rounds}`,
              variant.name,
              `${Math.round(milliseconds)} ms`,
            );
          }),
        );
      }
    }
    return [...results].map(([{ name, title }, milliseconds]) => ({
      name,
      title,
      milliseconds: summarize(milliseconds),
    }));
  },
};

/** Long enough for what a server still does after its first answer, or after its last one. */
const REST = 2000;

const memory: Section = {
  title: 'Resident memory in MB',
  columns: {
    title: 'Variant',
    idle: 'idle',
    tenth: 'after a tenth',
    half: 'after half',
    all: 'after all',
  },
  defaults: { rounds: 1, seconds: 1, variants: ['bare', 'metrics', 'ships'] },
  conditions: ['requests', 'connections'],
  async measure({ settings, sink, progress }) {
    const { requests } = settings;
    const rows: Row[] = [];
    for (const variant of settings.variants) {
      await withVariant(variant, sink.project().dsn, async (server) => {
        const megabytesAfter = async (count: number) => {
          if (count > 0) {
            const { connections } = settings;
            await load(server.url + PAGE, { connections, requests: Math.ceil(count) });
          }
          await sleep(REST);
          const megabytes = server.residentMegabytes();
          progress(variant.name, `${Math.round(megabytes)} MB`);
          return megabytes;
        };
        rows.push({
          name: variant.name,
          title: variant.title,
          idle: await megabytesAfter(0),
          tenth: await megabytesAfter(requests * 0.1),
          half: await megabytesAfter(requests * 0.4),
          all: await megabytesAfter(requests * 0.5),
        });
      });
    }
    return rows;
  },
};

const scrape: Section = {
  title: 'A scrape of /metrics',
  columns: {
    series: 'Series of one counter, besides the usual ones',
    cpuMilliseconds: 'CPU ms',
    milliseconds: 'ms',
    kilobytes: 'kB',
  },
  defaults: { rounds: 3, seconds: 3 },
  conditions: ['rounds', 'seconds'],
  async measure(context) {
    const servers = [10, 1000, 10_000].map(
      (series): Variant => ({
        name: String(series),
        title: String(series),
        command: [process.execPath, fileURLToPath(new URL('./scrape-server.js', import.meta.url))],
        environment: { SERIES: String(series) },
        path: '/metrics',
        reports: [],
      }),
    );
    const load = { ...context.settings, connections: 1, path: '/metrics' };
    const results = await byTurns(context, servers, load);
    return [...results].map(([{ name }, list]) => ({
      series: Number(name),
      cpuMilliseconds: summarize(list.map((one) => one.cpuMicroseconds / 1000)),
      milliseconds: summarize(list.map((one) => 1000 / one.requestsPerSecond)),
      kilobytes: list[0] ? list[0].bytes / 1000 : 0,
    }));
  },
};

const image: Section = {
  title: 'The image',
  columns: { title: 'Image', megabytes: 'MB' },
  defaults: { rounds: 1, seconds: 1 },
  conditions: [],
  async measure({ notRun }) {
    try {
      const build = ['docker', 'build', '--quiet'];
      const inspect = ['docker', 'image', 'inspect', '--format', '{{.Size}}'];
      const rows: Row[] = [];
      for (const [title, target] of [
        ['this project', []],
        ['of this, the Node.js image and package.json', ['--target', 'manifest']],
      ] as const) {
        const id = (await run([...build, ...target, '.'], process.env)).trim();
        rows.push({ title, megabytes: Number(await run([...inspect, id], process.env)) / 1e6 });
      }
      return rows;
    } catch (error) {
      notRun.image = (error as Error).message;
      return [];
    }
  },
};

export const sections: Record<string, Section> = {
  cost,
  startup,
  memory,
  image,
  scrape,
  connections,
};
