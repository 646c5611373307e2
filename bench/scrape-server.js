/** This project's /metrics with SERIES more series: what an application of many routes looks like. */
import { Counter } from 'prom-client';
import { readConfig } from '../dist/config.js';
import { createMetrics } from '../dist/metrics.js';
import { buildMetricsServer } from '../dist/metrics-server.js';

const metrics = createMetrics(readConfig({}));
const counter = new Counter({
  name: 'series_total',
  help: 'One series for each route',
  labelNames: ['method', 'endpoint'],
  registers: [metrics.registry],
});
for (let i = 0; i < Number(process.env.SERIES); i++) {
  counter.inc({ method: 'GET', endpoint: `/route-${i}` }, i);
}
await buildMetricsServer(metrics).listen({ port: process.env.PORT });
