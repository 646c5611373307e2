import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A server to measure: a program that serves the same page as all the others. */
export interface Variant {
  name: string;
  title: string;
  command: string[];
  environment?: Record<string, string>;
  /** What it is asked for. */
  path: string;
  /** What it claims to report; shown to arrive at the tracker before anything is measured. */
  reports: ('error' | 'trace')[];
}

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const node = (...args: string[]) => [process.execPath, ...args];

/** It waits for a timer, as for a database that answers at once. */
const PAGE = '/my-view?seconds=0';

/** What `npm start` runs, without npm between the benchmark and the server. */
const { scripts } = JSON.parse(readFileSync(file('../package.json'), 'utf8'));
// Without "exec node".
const product = node(...scripts.start.split(' ').slice(2));

const WITH_SDK_DEFAULTS = ['--import', file('variants/sdk-defaults.js')];

export const VIRTUAL_ENVIRONMENT = file('.venv');

/** In the order of the table. The first is what the others are compared with. */
export const variants: Variant[] = [
  {
    name: 'bare',
    title: 'Fastify, nothing else',
    command: node(file('variants/bare.js')),
    path: PAGE,
    reports: [],
  },
  {
    name: 'metrics',
    title: "this project's metrics",
    command: node(file('variants/metrics.js')),
    path: PAGE,
    reports: [],
  },
  {
    name: 'folder',
    title: 'src/monitoring in an application of your own, as it ships',
    command: node('--import', file('../dist/instrument.js'), file('variants/folder.js')),
    path: PAGE,
    reports: ['error', 'trace'],
  },
  {
    name: 'errors',
    title: "this project's metrics and errors, no traces",
    command: product,
    environment: { SENTRY_TRACES_SAMPLE_RATE: '0' },
    path: PAGE,
    reports: ['error'],
  },
  {
    name: 'ships',
    title: '**what this project ships**',
    command: product,
    path: PAGE,
    reports: ['error', 'trace'],
  },
  {
    name: 'everything-traced',
    title: 'this project, every request traced',
    command: product,
    environment: { SENTRY_TRACES_SAMPLE_RATE: '1', SENTRY_MAX_TRACES_PER_SECOND: '1000000' },
    path: PAGE,
    reports: ['error', 'trace'],
  },
  {
    name: 'sdk-defaults',
    title: "this project's metrics, the SDK's defaults at 1.0",
    command: node(...WITH_SDK_DEFAULTS, file('variants/metrics.js')),
    path: PAGE,
    reports: ['error', 'trace'],
  },
  {
    name: 'express',
    title: "Express, express-prom-bundle, the SDK's defaults at 1.0",
    command: node(...WITH_SDK_DEFAULTS, file('variants/express.js')),
    path: PAGE,
    reports: ['error', 'trace'],
  },
  {
    name: 'django',
    title: "the article's Django, its settings",
    command: [
      `${VIRTUAL_ENVIRONMENT}/bin/gunicorn`,
      ...['--config', file('variants/django/gunicorn.conf.py'), 'article.wsgi'],
    ],
    path: PAGE,
    reports: ['error', 'trace'],
  },
];

/** This project's /metrics, by how many series a counter adds to the usual ones. */
export const scrapes: Variant[] = [10, 1_000, 10_000].map((series) => ({
  name: `${series} series`,
  title: series.toLocaleString('en'),
  command: node(file('variants/scrape.js')),
  environment: { SERIES: String(series) },
  path: '/metrics',
  reports: [],
}));
