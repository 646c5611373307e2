/** A server to measure. Those that are written for this benchmark serve the same page. */
export interface Variant {
  name: string;
  title: string;
  /** What Node.js runs, from the project's folder. */
  program: string;
  /** Loaded before the program, with `--import`. */
  imports?: string[];
  environment?: Record<string, string>;
  /** What it claims to do, which is checked before anything is measured. */
  claims: ('metrics' | 'error' | 'trace')[];
}

const SDK_DEFAULTS = ['./bench/variants/sdk-defaults.js'];
const APPLICATION = { program: './dist/server.js', imports: ['./dist/instrument.js'] };

/** In the order of the table. The first is what the others are compared with. */
export const variants: Variant[] = [
  {
    name: 'bare',
    title: 'Fastify without monitoring',
    program: './bench/variants/bare.js',
    claims: [],
  },
  {
    name: 'metrics',
    title: 'bare with the metrics of this project',
    program: './bench/variants/metrics.js',
    claims: ['metrics'],
  },
  {
    name: 'folder',
    title: 'bare with src/instrument.ts and src/monitoring',
    program: './bench/variants/folder.js',
    imports: ['./dist/instrument.js'],
    claims: ['metrics', 'error', 'trace'],
  },
  {
    name: 'ships',
    title: 'this application',
    ...APPLICATION,
    claims: ['metrics', 'error', 'trace'],
  },
  {
    name: 'everything-traced',
    title: 'this application, every request traced',
    ...APPLICATION,
    environment: { SENTRY_TRACES_SAMPLE_RATE: '1', SENTRY_MAX_TRACES_PER_SECOND: '1000000' },
    claims: ['metrics', 'error', 'trace'],
  },
  {
    name: 'sdk-defaults',
    title: "bare with the article's `Sentry.init` alone",
    program: './bench/variants/bare.js',
    imports: SDK_DEFAULTS,
    claims: ['error', 'trace'],
  },
  {
    name: 'express',
    title: "Express with the article's `Sentry.init` alone",
    program: './bench/variants/express.js',
    imports: SDK_DEFAULTS,
    claims: ['error', 'trace'],
  },
];
