/** The article's `Sentry.init`, and the SDK's defaults for the rest. Loaded with `node --import`. */
import * as Sentry from '@sentry/node';

Sentry.init({ dsn: process.env.SENTRY_DSN, tracesSampleRate: 1 });
