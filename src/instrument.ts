/**
 * The article's `settings.py`: `Sentry.init`, and nothing else.
 * Loaded with `node --import`, before every other module.
 */
import * as Sentry from '@sentry/node';
import { ConfigError, readConfig } from './config.ts';
import { makeAccountingTransport, transportOptions } from './sentry-transport.ts';

function configOrExit() {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // The logger does not exist yet, and a stack would only hide the line that helps.
    console.error(error.message);
    process.exit(1);
  }
}

export const config = configOrExit();

if (config.SENTRY_DSN) {
  // #region init
  Sentry.initWithoutDefaultIntegrations({
    dsn: config.SENTRY_DSN,
    environment: config.SENTRY_ENVIRONMENT,
    release: config.SENTRY_RELEASE,

    // As in the article. src/plugins/sentry.ts decides by it before it begins a trace.
    tracesSampleRate: config.SENTRY_TRACES_SAMPLE_RATE,
    // #endregion
    // Sends whole transactions. The default, streamed spans, is understood by sentry.io and
    // self-hosted Sentry only, not by Bugsink, GlitchTip or `sentry local`.
    traceLifecycle: 'static',

    // The default integrations patch some fifty libraries, and two of them do harm here: Dedupe
    // drops an error that equals the one before it, and Fastify's puts query strings into traces.
    // src/plugins/sentry.ts does what the article's DjangoIntegration() does.
    integrations: [
      Sentry.contextLinesIntegration(),
      Sentry.linkedErrorsIntegration(),
      Sentry.nodeContextIntegration(),
      // Also for rejections that nobody handles, which Node turns into uncaught exceptions. The
      // integration for rejections keeps them from ending the process, and leaves out some of them.
      Sentry.onUncaughtExceptionIntegration(),
      Sentry.requestDataIntegration(),
    ],
    enableRuntimeChannelInjection: false,

    transport: makeAccountingTransport,
    transportOptions,
    // What the SDK drops is counted when it reports it: at the latest after these milliseconds.
    clientReportFlushInterval: 5_000,

    // By default the SDK collects all of these: what identifies a visitor, and where secrets are.
    dataCollection: {
      userInfo: false,
      cookies: false,
      httpHeaders: false,
      httpBodies: [],
      urlQueryParams: false,
      stackFrameVariables: false,
    },
  });
}
