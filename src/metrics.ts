/** The article's `metrics.py`: the metrics, and the registry that /metrics is rendered from. */
import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type OpenMetricsContentType,
  Registry,
} from 'prom-client';
import { type Config, version } from './config.ts';
import { LOSS_REASONS, lostEvents } from './sentry-transport.ts';

/**
 * Makes the application's metrics. Each application has a registry of its own and not the global
 * one, so that two in one process (in tests, for example) do not count into each other.
 */
export function createMetrics(config: Config) {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  // #region metrics
  // The article's two metrics, by its names: dashboards and queries written for it work unchanged.
  const requestCount = new Counter({
    name: 'django_http_requests_total',
    help: 'Total number of HTTP requests',
    labelNames: ['method', 'endpoint'],
    registers,
  });
  const activeUsers = new Gauge({
    name: 'django_active_users',
    help: 'Number of active users',
    registers,
  });
  // #endregion

  const requestDuration = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its response',
    labelNames: ['method', 'endpoint', 'status_code'],
    // 0.3 is the latency objective: an objective must be a bucket's bound to be measured exactly.
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10],
    // Each bucket names one request to look at: a point on the latency panel leads to its trace.
    enableExemplars: true,
    registers,
  });

  new Counter({
    name: 'sentry_events_lost_total',
    help: 'Events and traces that did not reach the tracker',
    labelNames: ['category', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const reason of LOSS_REASONS) this.inc({ category: 'error', reason }, 0);
      for (const { category, reason, count } of lostEvents.values()) {
        this.inc({ category, reason }, count);
      }
    },
  });

  new Gauge({
    name: 'app_build_info',
    help: 'Always 1; the labels say which build is running',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version, node_version: process.version }, 1);

  if (config.SENTRY_DSN) {
    const labels = {
      url: config.SENTRY_URL,
      environment: config.SENTRY_ENVIRONMENT,
      release: config.SENTRY_RELEASE,
    };
    new Gauge({
      name: 'sentry_info',
      help: 'Always 1; the labels say where events go. Dashboards take their links from it',
      labelNames: Object.keys(labels),
      registers,
    }).set(labels, 1);
  }

  return { registry, requestCount, activeUsers, requestDuration };
}

export type Metrics = ReturnType<typeof createMetrics>;
