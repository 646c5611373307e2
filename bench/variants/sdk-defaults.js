/** The article's `Sentry.init`, with everything else as the SDK has it. Loaded with `node --import`. */
import * as Sentry from '@sentry/node';

Sentry.init({ dsn: process.env.SENTRY_DSN, tracesSampleRate: 1 });
