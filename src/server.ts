import { buildApp } from './app.ts';
import { config } from './config.ts';
import { loggerOptions } from './http/logger.ts';
import { serve } from './http/serve.ts';

await serve(buildApp(config, loggerOptions(config.LOG_LEVEL)), config);
