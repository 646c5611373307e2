import * as Sentry from '@sentry/node';
import { buildApp } from './app.ts';
import { ConfigError, readConfig } from './config.ts';
import { loggerOptions } from './http/logger.ts';
import { closeOnSignal } from './http/shutdown.ts';

function readConfigOrExit() {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // A stack trace would hide the lines that help.
    console.error(error.message);
    process.exit(1);
  }
}

const config = readConfigOrExit();
const app = buildApp(config, loggerOptions(config.LOG_LEVEL));
closeOnSignal(app);
if (Sentry.isEnabled()) app.log.info(`Sentry is on, environment ${config.SENTRY_ENVIRONMENT}`);
else app.log.warn('Sentry is off: errors are only logged. Set SENTRY_DSN to turn it on');

try {
  await app.listen({ host: config.HOST, port: config.PORT });
} catch (error) {
  const { message, port, syscall } = error as NodeJS.ErrnoException & { port?: number };
  const setting = port === config.METRICS_PORT ? 'METRICS_PORT' : 'PORT';
  if (syscall !== 'listen' && syscall !== 'getaddrinfo') app.log.fatal(error);
  else app.log.fatal(`Cannot listen: ${message}. Set ${setting} or HOST to another value.`);
  process.exit(1);
}
