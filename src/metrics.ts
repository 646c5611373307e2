/** The article's `metrics.py`. */
import { Counter, Gauge } from 'prom-client';

// #region metrics
export const requestCount = new Counter({
  name: 'django_http_requests_total',
  help: 'Total number of HTTP requests',
  labelNames: ['method', 'endpoint'],
});
export const activeUsers = new Gauge({
  name: 'django_active_users',
  help: 'Number of active users',
});
// #endregion
