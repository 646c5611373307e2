import { buildApp } from './app.ts';
import { config } from './instrument.ts';
import { loggerOptions } from './logger.ts';
import { createMetrics } from './metrics.ts';
import { serve } from './serve.ts';

const metrics = createMetrics(config);
const app = buildApp({ config, metrics, logger: loggerOptions(config.LOG_LEVEL) });
await serve(app, metrics, config);
