import type { Config } from './config.ts';
import { prometheusQuery } from './prometheus-query.ts';

interface Link {
  label: string;
  url: string;
}

interface Step {
  title: string;
  /** The file in this repository that answers the article's code. */
  file?: string;
  text: string;
  /** Links that do the step, and links that show its result. */
  actions?: Link[];
  results: Link[];
}

/** The article's steps in its order. Results whose address is not configured are left out. */
export function guide(config: Config): { title: string; steps: Step[] }[] {
  const query = (expression: string) => prometheusQuery(config.PROMETHEUS_URL, expression);
  const prometheusPage = (path: string) => config.PROMETHEUS_URL && config.PROMETHEUS_URL + path;
  const mailbox = { label: 'The mail in the mailbox', url: config.MAILDEV_URL };

  const sections: { title: string; steps: Step[] }[] = [
    {
      title: 'Sentry: errors and exceptions',
      steps: [
        {
          title: 'Set up Sentry',
          file: 'src/instrument.ts',
          text: 'One setting, SENTRY_DSN, says where events go. The stack brings a tracker of its own, so no account is needed.',
          results: [{ label: 'The tracker', url: config.SENTRY_URL }],
        },
        {
          title: 'Test it: trigger an error',
          file: 'src/routes/trigger-error.ts',
          text: 'The page divides by zero. You get an error page with status 500 and the id of the event; the tracker shows the event with its source line, and mails about a new issue.',
          actions: [{ label: 'Trigger the error', url: '/trigger-error/' }],
          results: [{ label: 'The issues in the tracker', url: config.SENTRY_URL }, mailbox],
        },
      ],
    },
    {
      title: 'Prometheus: metrics',
      steps: [
        {
          title: 'Set up Prometheus',
          file: 'prometheus.yml',
          text: 'The file names what is scraped. Every target should be up.',
          results: [{ label: 'The targets', url: prometheusPage('/targets') }],
        },
        {
          title: 'Export metrics',
          file: 'src/metrics.ts',
          text: "The article's counter and gauge, under its names, with a latency histogram and Node's own metrics beside them.",
          results: [{ label: 'The metrics as text', url: config.METRICS_URL }],
        },
        {
          title: 'Instrument the code',
          file: 'src/routes/my-view.ts',
          text: 'Each visit raises the counter by one. While a page is being served, the gauge is one higher: hold one open to see it.',
          actions: [
            { label: 'Visit the page', url: '/my-view' },
            { label: 'Hold it open for 10 seconds', url: '/my-view?seconds=10' },
          ],
          results: [
            { label: 'The counter', url: query('django_http_requests_total{endpoint="/my-view"}') },
            { label: 'The gauge', url: query('django_active_users') },
          ],
        },
        {
          title: 'Look at the data',
          file: 'grafana/dashboard.ts',
          text: 'Prometheus draws single queries; Grafana draws the whole picture.',
          results: [
            {
              label: 'Requests per second, by PromQL',
              url: query('sum by (endpoint) (rate(django_http_requests_total[1m]))'),
            },
            { label: 'The Grafana dashboard', url: config.GRAFANA_URL },
          ],
        },
        {
          title: 'Get an alert',
          file: 'prometheus/rules/alerts.yml',
          text: 'When the share of errors stays above its threshold, Prometheus raises an alert, and Alertmanager mails it. "TRAFFIC_ERRORS=0.5 npm run traffic" makes enough of them.',
          results: [
            { label: 'The alert rules', url: prometheusPage('/alerts') },
            { label: 'The alerts that fire', url: config.ALERTMANAGER_URL },
            mailbox,
          ],
        },
      ],
    },
    {
      title: 'What else there is',
      steps: [
        {
          title: 'Group similar errors',
          file: 'src/routes/trigger-error.ts',
          text: 'The same error from the same place is one issue with many events. Another error is an issue of its own.',
          actions: [
            { label: 'The same error again', url: '/trigger-error/' },
            { label: 'Another error', url: '/trigger-error/other/?seconds=0.5' },
          ],
          results: [{ label: 'The issues in the tracker', url: config.SENTRY_URL }],
        },
        {
          title: 'Know what led to an error, and whom it met',
          file: 'src/plugins/visitor.ts',
          text: 'An event holds the breadcrumbs of its request, and a random number that tells visitors apart without saying who they are. Nothing else about a visitor leaves the application.',
          results: [{ label: 'The issues in the tracker', url: config.SENTRY_URL }],
        },
        {
          title: 'Track performance',
          file: 'src/plugins/sentry.ts',
          text: 'Each traced request is a transaction, with a span for the work of its page. Sentry and "npm run demo" show them; Bugsink keeps errors only.',
          actions: [{ label: 'A page that works for a second', url: '/my-view?seconds=1' }],
          results: [],
        },
        {
          title: 'Be told',
          text: 'Bugsink and Alertmanager mail. Slack, Jira and GitHub are integrations of a Sentry organization, set up in its settings; here nothing changes but SENTRY_DSN.',
          results: [mailbox],
        },
      ],
    },
  ];

  for (const step of sections.flatMap(({ steps }) => steps)) {
    step.results = step.results.filter(({ url }) => url);
  }
  return sections;
}
