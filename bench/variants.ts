import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A server to measure: a program that serves the same page as all the others. */
export interface Variant {
  name: string;
  title: string;
  command: string[];
  environment?: Record<string, string>;
  /** Where it answers, if not with the page. */
  path?: string;
  /** What it claims to report; shown to arrive at the tracker before anything is measured. */
  reports: ('error' | 'trace')[];
  /** One of this project's own, whose ratio is held against the committed one. */
  ours?: true;
}

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const node = (...args: string[]) => [process.execPath, ...args];

const WITH_SDK_DEFAULTS = ['--import', file('variants/sdk-defaults.js')];

/** What `npm start` runs, without npm between the benchmark and the server. */
const { scripts } = JSON.parse(readFileSync(file('../package.json'), 'utf8'));
// Without "exec node".
const product = node(...scripts.start.split(' ').slice(2));

export const VIRTUAL_ENVIRONMENT = file('.venv');

/** In the order of the table. */
export const variants: Variant[] = [
  {
    name: 'bare',
    title: 'Fastify, nothing else',
    command: node(file('variants/bare.js')),
    reports: [],
  },
  {
    name: 'metrics',
    title: "this project's metrics",
    command: node(file('variants/metrics.js')),
    reports: [],
    ours: true,
  },
  {
    name: 'errors',
    title: "this project's metrics and errors, no traces",
    command: product,
    environment: { SENTRY_TRACES_SAMPLE_RATE: '0' },
    reports: ['error'],
    ours: true,
  },
  {
    name: 'ships',
    title: '**what this project ships**',
    command: product,
    reports: ['error', 'trace'],
    ours: true,
  },
  {
    name: 'everything-traced',
    title: 'this project, every request traced',
    command: product,
    environment: { SENTRY_TRACES_SAMPLE_RATE: '1', SENTRY_MAX_TRACES_PER_SECOND: '1000000' },
    reports: ['error', 'trace'],
    ours: true,
  },
  {
    name: 'sdk-defaults',
    title: "this project's metrics, the SDK's defaults at 1.0",
    command: node(...WITH_SDK_DEFAULTS, file('variants/metrics.js')),
    reports: ['error', 'trace'],
  },
  {
    name: 'fastify-metrics',
    title: "fastify-metrics, the SDK's defaults at 1.0",
    command: node(...WITH_SDK_DEFAULTS, file('variants/fastify-metrics.js')),
    reports: ['error', 'trace'],
  },
  {
    name: 'express',
    title: "Express, express-prom-bundle, the SDK's defaults at 1.0",
    command: node(...WITH_SDK_DEFAULTS, file('variants/express.js')),
    reports: ['error', 'trace'],
  },
  {
    name: 'django',
    title: "the article's Django, its settings",
    command: [
      `${VIRTUAL_ENVIRONMENT}/bin/gunicorn`,
      '--config',
      file('variants/django/gunicorn.conf.py'),
      'article.wsgi',
    ],
    reports: ['error', 'trace'],
  },
];
