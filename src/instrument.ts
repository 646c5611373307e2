/** The article's `settings.py`. Loaded with `node --import`, before every other module. */
import * as Sentry from '@sentry/node';
import { spoolTransport } from './monitoring/spool.ts';

/** Fastify and Http: monitoring/sentry.ts does it for less. Dedupe drops an error like the one before. */
const REPLACED = ['Fastify', 'Http', 'Dedupe'];

// #region init
Sentry.init({
  // The SDK reads SENTRY_DSN, SENTRY_ENVIRONMENT and SENTRY_RELEASE itself.
  tracesSampleRate: Number(process.env.SENTRY_TRACES_SAMPLE_RATE ?? 1.0),
  integrations: (defaults) => defaults.filter(({ name }) => !REPLACED.includes(name)),

  // Whole transactions. Streamed spans, the default, are for sentry.io and self-hosted Sentry only.
  traceLifecycle: 'static',

  // By default all of this is sent: what identifies a visitor, and where secrets are.
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
  // Optional: no event is lost while the tracker is away.
  transport: spoolTransport(process.env.SENTRY_SPOOL_DIRECTORY),
});
// #endregion
