/** This project's /metrics with SERIES more series: what an application of many routes looks like. */
import { Counter } from 'prom-client';
import '../../dist/metrics.js';
import { buildMetricsServer } from '../../dist/monitoring/metrics-server.js';

const counter = new Counter({
  name: 'series_total',
  help: 'One series for each route',
  labelNames: ['method', 'endpoint'],
});
for (let i = 0; i < Number(process.env.SERIES); i++) {
  counter.inc({ method: 'GET', endpoint: `/route-${i}` }, i);
}
await buildMetricsServer().listen({ port: process.env.PORT });
