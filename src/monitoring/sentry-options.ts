import * as Sentry from '@sentry/node';
import { makeTransport } from './transport.ts';

/** What `Sentry.init` gets besides the DSN and what events are filed under. */
export const sentryOptions = {
  // Sends whole transactions. The default, streamed spans, is understood by sentry.io and
  // self-hosted Sentry only, not by Bugsink, GlitchTip or `sentry local`.
  traceLifecycle: 'static',

  // The default integrations patch some fifty libraries, and two of them do harm: Dedupe drops an
  // error that equals the one before it, and Fastify's puts query strings into traces.
  defaultIntegrations: false,
  integrations: [
    Sentry.contextLinesIntegration(),
    // For `ignoreErrors` and its like.
    Sentry.eventFiltersIntegration(),
    Sentry.linkedErrorsIntegration(),
    Sentry.nodeContextIntegration(),
    // Also for rejections that nobody handles, which Node turns into uncaught exceptions. The
    // integration for rejections keeps them from ending the process, and leaves out some of them.
    Sentry.onUncaughtExceptionIntegration(),
    Sentry.requestDataIntegration(),
  ],
  enableRuntimeChannelInjection: false,

  transport: makeTransport,
  // How many events the SDK may work on at once. Its own 64 lose some when a few hundred requests
  // fail together.
  transportOptions: { bufferSize: 2000 },

  // By default the SDK collects all of these: what identifies a visitor, and where secrets are.
  dataCollection: {
    userInfo: false,
    cookies: false,
    httpHeaders: false,
    httpBodies: [],
    urlQueryParams: false,
    stackFrameVariables: false,
    // Of integrations that an application may add.
    databaseQueryData: false,
    genAI: { inputs: false, outputs: false },
    graphQL: { variables: false },
    mcp: { inputs: false, outputs: false },
    queues: false,
  },
} satisfies Sentry.NodeOptions;
