import type { Config } from '../config.ts';
import type { Links } from './links.ts';

/**
 * A step of the guide. Its texts are in views/text, under `guide.steps` and its id; what has a name
 * here has its label under the same name there.
 */
export interface Step {
  id: string;
  /** The article's file, where it has one. */
  django?: string;
  /** Code to show, as readSnippet() takes it. */
  snippets: string[];
  /** Commands to copy. */
  commands?: Record<string, string>;
  /** Pages of this application to try. */
  do?: Record<string, string>;
  /** The one that opens in a new tab, so that the reader can continue meanwhile. */
  inNewTab?: string;
  /** The view that shows the result. */
  result?: 'sentry' | 'last-event' | 'counts';
  /** Pages of other services. An empty URL is not shown. */
  see?: Record<string, string>;
  /** Whether to show the tracker's login. */
  showsLogin?: boolean;
}

export interface Section {
  id: string;
  steps: Step[];
}

/** The article's steps in its order. */
export function guideSections(config: Config, links: Links): Section[] {
  return [
    {
      id: 'sentry',
      steps: [
        {
          id: 'set-up-sentry',
          django: 'settings.py',
          snippets: ['src/instrument.ts'],
          result: 'sentry',
          see: { tracker: links.tracker },
          showsLogin: true,
        },
        {
          id: 'trigger-error',
          django: 'views.py',
          snippets: ['src/routes/trigger-error.ts#error'],
          do: { error: '/trigger-error/?from=trigger-error' },
          result: 'last-event',
          see: { issues: links.tracker, mail: links.mailbox },
        },
        {
          id: 'group',
          snippets: ['src/routes/trigger-error.ts#other-error'],
          do: {
            sameError: '/trigger-error/?from=group',
            otherError: '/trigger-error/other/?from=group',
          },
          see: { issues: links.tracker },
        },
        {
          id: 'context',
          snippets: ['src/routes/trigger-error.ts#breadcrumb', 'src/guide/visitor.ts#context'],
          do: { error: '/trigger-error/other/?from=context' },
          result: 'last-event',
          see: { issues: links.tracker },
        },
        {
          id: 'performance',
          snippets: ['src/routes/work.ts#span'],
          do: { slowPage: '/my-view?seconds=1&from=performance' },
          see: {
            slowTraces: links.slowTraces,
            duration: links.query(
              'histogram_quantile(0.95, sum by (endpoint, le) (rate(http_request_duration_seconds_bucket[5m])))',
            ),
          },
        },
        {
          id: 'notify',
          snippets: ['alertmanager.yml#mail'],
          see: { mailbox: links.mailbox },
        },
      ],
    },
    {
      id: 'prometheus',
      steps: [
        {
          id: 'set-up-prometheus',
          snippets: ['prometheus.yml#scrape'],
          see: { targets: links.prometheusPage('/targets') },
        },
        {
          id: 'export-metrics',
          django: 'metrics.py',
          snippets: ['src/metrics.ts#metrics'],
          see: { metrics: links.metrics },
        },
        {
          id: 'instrument',
          django: 'views.py',
          snippets: ['src/routes/count-requests.ts#counter', 'src/routes/my-view.ts#gauge'],
          do: { visit: '/my-view?from=instrument', hold: '/hold' },
          inNewTab: 'hold',
          result: 'counts',
          see: {
            counter: links.query('django_http_requests_total{endpoint="/my-view"}'),
            gauge: links.query('django_active_users'),
          },
        },
        {
          id: 'visualize',
          snippets: ['grafana/dashboards/application.json#targets'],
          commands: { traffic: trafficCommand(config) },
          see: {
            rate: links.query('sum by (endpoint) (rate(django_http_requests_total[1m]))'),
            dashboard: links.grafana,
          },
        },
        {
          id: 'promql',
          snippets: ['prometheus/rules/recording.yml#ratio'],
          see: {
            ratio: links.query('job:http_request_errors_per_http_requests:ratio_rate5m'),
            visits: links.query(
              'sum(increase(django_http_requests_total{endpoint="/my-view"}[5m]))',
            ),
          },
        },
        {
          id: 'alert',
          snippets: ['prometheus/rules/alerts.yml#alert'],
          commands: {
            errors: trafficCommand(config, 0.5),
            ...(isStack(config) && { stop: 'docker compose stop traffic' }),
          },
          see: {
            rules: links.prometheusPage('/alerts'),
            alerts: links.alertmanager,
            mail: links.mailbox,
          },
        },
      ],
    },
  ];
}

/** Whether the stack runs in Docker: without it there is no mailbox. */
export const isStack = (config: Config) => config.MAILDEV_URL !== '';

function trafficCommand(config: Config, errors?: number): string {
  if (isStack(config)) {
    const command = 'docker compose up -d --scale traffic=1';
    return errors ? `TRAFFIC_ERRORS=${errors} ${command}` : command;
  }
  const options = [
    ...(config.PORT === 8000 ? [] : [`--url=http://localhost:${config.PORT}`]),
    ...(errors ? [`--errors=${errors}`] : []),
  ];
  return ['npm run traffic', ...(options.length > 0 ? ['--', ...options] : [])].join(' ');
}
