/** The article's `settings.py`. Loaded with `node --import`, before every other module. */
import * as Sentry from '@sentry/node';
import { config } from './config.ts';
import { sentryOptions } from './monitoring/sentry-options.ts';

// #region init
Sentry.init({
  dsn: config.SENTRY_DSN,
  environment: config.SENTRY_ENVIRONMENT,
  release: config.SENTRY_RELEASE,
  tracesSampleRate: config.SENTRY_TRACES_SAMPLE_RATE,
  ...sentryOptions,
});
// #endregion
