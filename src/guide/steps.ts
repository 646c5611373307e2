import type { Config } from '../config.ts';
import { prometheusQuery, slowTraces } from './links.ts';

/**
 * A step of the guide: what it shows and where it leads. Its words are in views/text, under
 * `guide.steps` and its id; what is named here has the same name there.
 */
export interface Step {
  id: string;
  /** The article's file, where it has one. */
  django?: string;
  /** The lines of code that do it, by the names of their regions: see snippets.ts. */
  snippets: string[];
  /** Commands to copy, by the names of the words that go before them. */
  commands?: Record<string, string>;
  /** Pages of this application that the reader tries, by the names of their labels. */
  do?: Record<string, string>;
  /** The link of "do" that opens in a tab of its own, because the reader goes on meanwhile. */
  inNewTab?: string;
  /** The view that shows what came of it. */
  result?: 'sentry' | 'last-event' | 'counts';
  /** Where to look further, by the names of the labels. An empty address is not shown. */
  see?: Record<string, string>;
  /** Whether these links lead to the tracker for the first time: it asks for a login. */
  showsLogin?: boolean;
}

export interface Section {
  id: string;
  steps: Step[];
}

const START_TRAFFIC = 'docker compose up -d --scale traffic=1';

/** The article's steps in its order. */
export function guideSections(config: Config): Section[] {
  const query = (expression: string) => prometheusQuery(config.PROMETHEUS_URL, expression);
  const prometheusPage = (path: string) => config.PROMETHEUS_URL && config.PROMETHEUS_URL + path;

  return [
    {
      id: 'sentry',
      steps: [
        {
          id: 'set-up-sentry',
          django: 'settings.py',
          snippets: ['init'],
          result: 'sentry',
          see: { tracker: config.SENTRY_URL },
          showsLogin: true,
        },
        {
          id: 'trigger-error',
          django: 'views.py',
          snippets: ['error'],
          do: { error: '/trigger-error/' },
          result: 'last-event',
          see: { issues: config.SENTRY_URL, mail: config.MAILDEV_URL },
        },
        {
          id: 'group',
          snippets: ['other-error'],
          do: { sameError: '/trigger-error/', otherError: '/trigger-error/other/' },
          see: { issues: config.SENTRY_URL },
        },
        {
          id: 'context',
          snippets: ['breadcrumb', 'context'],
          do: { error: '/trigger-error/other/?seconds=0.5' },
          result: 'last-event',
          see: { issues: config.SENTRY_URL },
        },
        {
          id: 'performance',
          snippets: ['span'],
          do: { slowPage: '/my-view?seconds=1' },
          see: {
            slowTraces: slowTraces(config),
            duration: query(
              'histogram_quantile(0.95, sum by (endpoint, le) (rate(http_request_duration_seconds_bucket[5m])))',
            ),
          },
        },
        {
          id: 'notify',
          snippets: ['mail'],
          see: { mailbox: config.MAILDEV_URL },
        },
      ],
    },
    {
      id: 'prometheus',
      steps: [
        {
          id: 'set-up-prometheus',
          snippets: ['scrape'],
          see: { targets: prometheusPage('/targets') },
        },
        {
          id: 'export-metrics',
          django: 'metrics.py',
          snippets: ['metrics'],
          see: { metrics: config.METRICS_URL },
        },
        {
          id: 'instrument',
          django: 'views.py',
          snippets: ['counter', 'gauge'],
          do: { visit: '/my-view', hold: '/my-view?seconds=10' },
          inNewTab: 'hold',
          result: 'counts',
          see: {
            counter: query('django_http_requests_total{endpoint="/my-view"}'),
            gauge: query('django_active_users'),
          },
        },
        {
          id: 'visualize',
          snippets: ['panel'],
          commands: { traffic: START_TRAFFIC, withoutDocker: 'npm run traffic' },
          see: {
            rate: query('sum by (endpoint) (rate(django_http_requests_total[1m]))'),
            dashboard: config.GRAFANA_URL,
          },
        },
        {
          id: 'promql',
          snippets: ['ratio'],
          see: {
            ratio: query('job:http_request_errors_per_http_requests:ratio_rate5m'),
            visits: query('sum(increase(django_http_requests_total{endpoint="/my-view"}[5m]))'),
          },
        },
        {
          id: 'alert',
          snippets: ['alert'],
          commands: {
            errors: `TRAFFIC_ERRORS=0.5 ${START_TRAFFIC}`,
            withoutDocker: 'TRAFFIC_ERRORS=0.5 npm run traffic',
            stop: 'docker compose stop traffic',
          },
          see: {
            rules: prometheusPage('/alerts'),
            alerts: config.ALERTMANAGER_URL,
            mail: config.MAILDEV_URL,
          },
        },
      ],
    },
  ];
}

/** The pages of the stack's services, by the names of their labels. An empty address is said to be unset. */
export function guideTools(config: Config): Record<string, string> {
  return {
    tracker: config.SENTRY_URL,
    jaeger: config.JAEGER_URL,
    prometheus: config.PROMETHEUS_URL,
    grafana: config.GRAFANA_URL,
    alertmanager: config.ALERTMANAGER_URL,
    mailbox: config.MAILDEV_URL,
  };
}
