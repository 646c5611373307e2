/**
 * Initializes Sentry: the article's `settings.py`. Load it with `node --import`, before every other
 * module.
 */
import * as Sentry from '@sentry/node';
import { spoolTransport } from './monitoring/spool.ts';

/**
 * monitoring/sentry.ts replaces Fastify and Http at a fraction of the cost. Dedupe drops an error
 * that equals the one before, even if it's another visitor's.
 */
const REPLACED = ['Fastify', 'Http', 'Dedupe'];

Sentry.init({
  // The SDK reads SENTRY_DSN, SENTRY_ENVIRONMENT and SENTRY_RELEASE itself.
  tracesSampleRate: Number(process.env.SENTRY_TRACES_SAMPLE_RATE || 1.0),
  integrations: (defaults) => defaults.filter(({ name }) => !REPLACED.includes(name)),

  // Only sentry.io and self-hosted Sentry accept streamed spans, the default.
  traceLifecycle: 'static',

  // Data that identifies visitors or may contain secrets. By default the SDK collects all of it.
  dataCollection: {
    userInfo: false,
    cookies: false,
    httpHeaders: false,
    httpBodies: [],
    urlQueryParams: false,
    stackFrameVariables: false,
    databaseQueryData: false,
    graphQL: { variables: false },
    genAI: { inputs: false, outputs: false },
    queues: false,
  },

  // How many events may be in flight. The default, 64, loses a burst of errors.
  transportOptions: { bufferSize: 1000 },
  // Optional: stores events on disk until the tracker has accepted them.
  transport: spoolTransport(process.env.SENTRY_SPOOL_DIRECTORY),
});
