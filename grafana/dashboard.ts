/**
 * The application's dashboard: the article's two metrics, then rate, errors and duration of the
 * requests, the objectives, saturation, the process, alerts. `npm run dashboards` writes it to
 * dashboards/application.json, which Grafana loads.
 */
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DatasourceVariableBuilder,
  MappingType,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableHide,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import {
  CellValuesBuilder,
  PanelBuilder as HeatmapBuilder,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapColorScale,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap';
import {
  DataqueryBuilder,
  PromQueryFormat,
  QueryEditorMode,
} from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import * as units from '@grafana/grafana-foundation-sdk/units';
import { alertThreshold } from './alert-threshold.ts';

const DATASOURCE = { type: 'prometheus', uid: '$datasource' };

const SELECTED = 'job=~"$job", instance=~"$instance"';
// Health checks and the stylesheet never fail: with them in, the trouble of users would not show.
const USER_REQUESTS = `${SELECTED}, endpoint!~"/healthz|/readyz|/style.css"`;

const REQUESTS = `sum(rate(http_request_duration_seconds_count{${USER_REQUESTS}}[$__rate_interval]))`;
const ERRORS = `sum(rate(http_request_duration_seconds_count{${USER_REQUESTS}, status_code=~"5.."}[$__rate_interval]))`;

// Recorded series are per job: they are the sum of its instances.
const BURN_RATE = 'job_objective:error_budget_burn';

export function buildDashboard(): Dashboard {
  const dashboard = new DashboardBuilder('Application')
    .uid('application')
    .description('Requests, errors, latency and saturation of the application.')
    .tags(['application', 'prometheus', 'red'])
    .timezone('browser')
    .refresh('5s')
    .time({ from: 'now-15m', to: 'now' })
    .tooltip(DashboardCursorSync.Crosshair)
    .readonly()
    .withVariable(datasourceVariable())
    .withVariable(jobVariable())
    .withVariable(instanceVariable())
    .withVariable(trackerVariable())
    .annotation(firingAlertsAnnotation())

    .withRow(new RowBuilder("The article's two metrics"))
    .withPanel(requestsSinceStart())
    .withPanel(requestRateByEndpoint())
    .withPanel(activeUsers())

    .withRow(new RowBuilder('Rate'))
    .withPanel(requestRateByMethod())
    .withPanel(requestRateByStatusCode())

    .withRow(new RowBuilder('Errors'))
    .withPanel(errorRatio())
    .withPanel(errorRateByEndpoint())
    .withPanel(lostEvents())
    .withPanel(waitingEvents())

    .withRow(new RowBuilder('Duration'))
    .withPanel(responseTime())
    .withPanel(failedResponseTime())
    .withPanel(responseTimeByEndpoint())
    .withPanel(responseTimeDistribution())

    .withRow(new RowBuilder('Objectives'))
    .withPanel(errorBudgetLeft())
    .withPanel(errorBudgetBurn())

    .withRow(new RowBuilder('Saturation'))
    .withPanel(eventLoopLag())
    .withPanel(cpu())
    .withPanel(memory())
    .withPanel(requestsInFlight())
    .withPanel(activeHandles())
    .withPanel(fileDescriptors())

    .withRow(new RowBuilder('Node.js process'))
    .withPanel(heap())
    .withPanel(garbageCollection())
    .withPanel(buildInfo())
    .withPanel(uptime())

    .withRow(new RowBuilder('Alerts and targets'))
    .withPanel(firingAlerts())
    .withPanel(targetHealth())
    .build();

  // Grafana tells panels apart by id, and the builders set none.
  for (const [index, panel] of (dashboard.panels ?? []).entries()) panel.id = index + 1;
  return dashboard;
}

function datasourceVariable() {
  return new DatasourceVariableBuilder('datasource')
    .label('Data source')
    .type('prometheus')
    .current({ text: 'Prometheus', value: 'prometheus' });
}

// Where the application sends its events. A metric tells, so that a link cannot lead elsewhere.
function trackerVariable() {
  return new QueryVariableBuilder('tracker')
    .datasource(DATASOURCE)
    .query('label_values(sentry_info{job=~"$job"}, url)')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .current({ text: 'http://localhost:9000', value: 'http://localhost:9000' })
    .hide(VariableHide.HideVariable);
}

function trackerLink() {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's notation
  return new DashboardLinkBuilder('Issues in the tracker').url('${tracker}').targetBlank(true);
}

// Taken from `up`, which is there for a target that is down, too.
function jobVariable() {
  return new QueryVariableBuilder('job')
    .label('Job')
    .datasource(DATASOURCE)
    .query('label_values(up, job)')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.+')
    .current({ text: ['app'], value: ['app'] });
}

function instanceVariable() {
  return new QueryVariableBuilder('instance')
    .label('Instance')
    .datasource(DATASOURCE)
    .query('label_values(up{job=~"$job"}, instance)')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.+')
    .current({ text: ['All'], value: ['$__all'] });
}

function firingAlertsAnnotation() {
  return new AnnotationQueryBuilder()
    .name('Firing alerts')
    .datasource(DATASOURCE)
    .enable(true)
    .iconColor('red')
    .target(query('ALERTS{alertstate="firing", severity!="none"}').refId('Anno'))
    .titleFormat('{{alertname}} {{job}}');
}

function requestsSinceStart() {
  return stat('Requests since the start (django_http_requests_total)')
    .description(
      'The counter itself, added up over the replicas: one visit to /my-view adds 1. A restart sets it back to 0, which is why the other panels show rates.',
    )
    .unit(units.NoUnit)
    .span(8)
    .withTarget(
      instantQuery(`sum by (endpoint) (django_http_requests_total{${SELECTED}})`, '{{endpoint}}'),
    );
}

// #region panel
function requestRateByEndpoint() {
  return timeSeries('Requests per second by endpoint')
    .description(
      'How fast the counter rises, health checks left out. A single visit is a short bump; a request that matches no route is `unmatched`.',
    )
    .unit(units.RequestsPerSecond)
    .span(8)
    .withTarget(
      query(
        `sum by (endpoint) (rate(django_http_requests_total{${USER_REQUESTS}}[$__rate_interval]))`,
        '{{endpoint}}',
      ),
    );
}
// #endregion

function activeUsers() {
  return withThreshold(
    timeSeries('Active users (django_active_users)'),
    alertThreshold('ManyActiveUsers'),
  )
    .description(
      'Visitors whose /my-view is being served at the moment of the scrape, on all replicas: open /my-view?seconds=10 to be one. Above the line ManyActiveUsers fires.',
    )
    .unit(units.NoUnit)
    .decimals(0)
    .legend(legend(['lastNotNull', 'max']))
    .span(8)
    .withTarget(query(`sum(django_active_users{${SELECTED}})`, 'active users'));
}

function requestRateByMethod() {
  return timeSeries('Requests per second by method')
    .description('HTTP methods of the requests, health checks left out; unusual ones are `other`.')
    .unit(units.RequestsPerSecond)
    .span(12)
    .withTarget(
      query(
        `sum by (method) (rate(django_http_requests_total{${USER_REQUESTS}}[$__rate_interval]))`,
        '{{method}}',
      ),
    );
}

function requestRateByStatusCode() {
  return timeSeries('Requests per second by status code')
    .description(
      'How requests ended, health checks left out. 499 is a visitor who left before the answer.',
    )
    .unit(units.RequestsPerSecond)
    .span(12)
    .withTarget(
      query(
        `sum by (status_code) (rate(http_request_duration_seconds_count{${USER_REQUESTS}}[$__rate_interval]))`,
        '{{status_code}}',
      ),
    );
}

function errorRatio() {
  return (
    withThreshold(timeSeries('Error ratio'), alertThreshold('HighErrorRatio'))
      .description(
        'Share of the requests that were answered with a 5xx status. HighErrorRatio fires when it is above the line over 5 minutes.',
      )
      .unit(units.PercentUnit)
      .span(12)
      .links([trackerLink()])
      // Without requests the ratio would be 0/0: the errors, which are 0 then, stand in for it.
      .withTarget(query(`${ERRORS} / (${REQUESTS} > 0) or ${ERRORS}`, '5xx'))
  );
}

function errorRateByEndpoint() {
  return timeSeries('Errors per second by endpoint')
    .description(
      'Answers with a 5xx status. /trigger-error/ fails on purpose; all others should stay at 0.',
    )
    .unit(units.RequestsPerSecond)
    .span(12)
    .links([trackerLink()])
    .withTarget(
      query(
        `sum by (endpoint) (rate(http_request_duration_seconds_count{${USER_REQUESTS}, status_code=~"5.."}[$__rate_interval]))`,
        '{{endpoint}}',
      ),
    );
}

function lostEvents() {
  return timeSeries('Events and traces that did not arrive')
    .description(
      'Events, transactions and Jaeger spans per second that were given up, and why. A lone loss is a short bump: sentry_events_lost_total itself says how many there were. EventsLost fires when events are lost.',
    )
    .unit(units.CountsPerSecond)
    .span(12)
    .links([trackerLink()])
    .targets([
      query(
        `sum by (category, reason) (rate(sentry_events_lost_total{${SELECTED}}[$__rate_interval]))`,
        '{{category}}: {{reason}}',
      ).refId('A'),
      query(
        `sum by (reason) (rate(otlp_spans_lost_total{${SELECTED}}[$__rate_interval]))`,
        'span: {{reason}}',
      ).refId('B'),
    ]);
}

function waitingEvents() {
  return timeSeries('Events and traces that wait')
    .description(
      'What the tracker has not taken yet: in any moment some are on their way. A line that stays above 0 is a tracker that is away or slow; EventsWaiting fires when it does so for 10 minutes.',
    )
    .unit(units.NoUnit)
    .decimals(0)
    .span(12)
    .links([trackerLink()])
    .withTarget(query(`sentry_events_waiting{${SELECTED}}`, '{{instance}}'));
}

function responseTime() {
  // Without the failed ones: here no point has an event, and there each has one. Grafana gives every
  // point of a panel all links, and one to no event would lead nowhere.
  const quantile = (q: number) => responseTimeQuantile(q, 'status_code!~"5.."');

  return withThreshold(timeSeries('Response time'), alertThreshold('HighLatency'))
    .description(
      'Of the requests without a 5xx status: half are faster than p50, 95 % faster than p95. A point is one traced request; its link leads to the trace. HighLatency fires when p95 of all requests is above the line over 5 minutes. Without requests there is no graph.',
    )
    .unit(units.Seconds)
    .span(8)
    .targets([
      // The points are the same for all three. Grafana asks for them once, with the first.
      query(quantile(0.5), 'p50').refId('A').exemplar(true),
      query(quantile(0.95), 'p95').refId('B'),
      query(quantile(0.99), 'p99').refId('C'),
    ]);
}

function failedResponseTime() {
  return (
    withThreshold(timeSeries('Response time of failed requests'), alertThreshold('HighLatency'))
      .description(
        'Of the requests with a 5xx status: 95 % are faster than the line. A point is one of them; its links lead to the event and, if it was traced, to the trace. Without failed requests there is no graph.',
      )
      .unit(units.Seconds)
      .span(8)
      .links([trackerLink()])
      // On a panel of their own, or Grafana would leave the fast ones out beside slow good ones.
      .withTarget(query(responseTimeQuantile(0.95, 'status_code=~"5.."'), 'p95').exemplar(true))
  );
}

function responseTimeQuantile(q: number, matcher: string) {
  return `histogram_quantile(${q}, sum by (le) (rate(http_request_duration_seconds_bucket{${USER_REQUESTS}, ${matcher}}[$__rate_interval])))`;
}

function responseTimeByEndpoint() {
  return withThreshold(timeSeries('Response time by endpoint (p95)'), alertThreshold('HighLatency'))
    .description('Which endpoint is slow: 95 % of its requests are faster than its line.')
    .unit(units.Seconds)
    .span(8)
    .withTarget(
      query(
        `histogram_quantile(0.95, sum by (endpoint, le) (rate(http_request_duration_seconds_bucket{${USER_REQUESTS}}[$__rate_interval])))`,
        '{{endpoint}}',
      ),
    );
}

function responseTimeDistribution() {
  return new HeatmapBuilder()
    .title('Distribution of response times')
    .datasource(DATASOURCE)
    .description(
      'Requests per second in each bucket of the histogram: the stronger the colour, the more. Two bands are two kinds of requests, which a percentile hides.',
    )
    .unit(units.RequestsPerSecond)
    .height(8)
    .span(24)
    .color(
      new HeatmapColorOptionsBuilder()
        .mode(HeatmapColorMode.Scheme)
        .scheme('Oranges')
        .scale(HeatmapColorScale.Exponential)
        .exponent(0.5)
        .steps(64),
    )
    .cellValues(new CellValuesBuilder().unit(units.RequestsPerSecond))
    .yAxis(new YAxisConfigBuilder().unit(units.Seconds))
    .withTarget(
      query(
        `sum by (le) (rate(http_request_duration_seconds_bucket{${USER_REQUESTS}}[$__rate_interval]))`,
        '{{le}}',
      ).format(PromQueryFormat.Heatmap),
    );
}

function errorBudgetLeft() {
  return stat('Error budget left (3 days)')
    .description(
      'How much of what the objectives let fail in 3 days has not failed: 99.5 % of the requests without a 5xx status (availability), 95 % within 300 ms (latency). Below 0 the objective is missed.',
    )
    .unit(units.PercentUnit)
    .decimals(0)
    .thresholds(thresholds('red', [0, 'orange'], [0.25, 'green']))
    .span(8)
    .withTarget(
      instantQuery(`1 - ${orZero(`${BURN_RATE}:rate3d{job=~"$job"}`)}`, '{{job}} {{objective}}'),
    );
}

function errorBudgetBurn() {
  return withThreshold(timeSeries('Burn rate (1 hour)'), alertThreshold('ErrorBudgetBurn'))
    .description(
      'How fast the error budget is spent: at 1 it lasts exactly as long as it should. ErrorBudgetBurn pages when it is above the line over 1 hour and over 5 minutes; its other windows are lower and longer.',
    )
    .unit(units.NoUnit)
    .span(16)
    .withTarget(query(orZero(`${BURN_RATE}:rate1h{job=~"$job"}`), '{{job}} {{objective}}'));
}

/**
 * Without requests a burn rate is 0/0: the bad requests, which are 0 then, stand in for it. Without the
 * names of both, which the maximum takes away, they are one series.
 */
function orZero(burnRate: string) {
  return `max by (job, objective) (${burnRate} >= 0 or job_objective:http_requests_bad:rate5m{job=~"$job"})`;
}

function eventLoopLag() {
  return timeSeries('Event loop lag (p99)')
    .description(
      'How late timers run. It grows when code blocks the thread, and every request then waits as long.',
    )
    .unit(units.Seconds)
    .span(8)
    .withTarget(query(`nodejs_eventloop_lag_p99_seconds{${SELECTED}}`, '{{instance}}'));
}

function cpu() {
  return timeSeries('CPU')
    .description('100 % is one core. JavaScript runs on one thread and cannot use much more.')
    .unit(units.PercentUnit)
    .span(8)
    .withTarget(
      query(`rate(process_cpu_seconds_total{${SELECTED}}[$__rate_interval])`, '{{instance}}'),
    );
}

function memory() {
  return timeSeries('Memory')
    .description(
      "Resident memory: what counts against the container's limit. A steady climb is a leak.",
    )
    .unit(units.BytesIEC)
    .span(8)
    .withTarget(query(`process_resident_memory_bytes{${SELECTED}}`, '{{instance}}'));
}

function requestsInFlight() {
  // What is refused before any hook, which is unmatched, ends without having begun.
  const matched = `${SELECTED}, endpoint!="unmatched"`;
  return timeSeries('Requests in flight')
    .description(
      'Requests that have begun and not ended. A line that only rises is requests that hang: they are in no ratio and no percentile. RequestsHang fires when there are more than 10 that the response times do not explain.',
    )
    .unit(units.NoUnit)
    .decimals(0)
    .span(8)
    .withTarget(
      query(
        `sum by (endpoint) (django_http_requests_total{${matched}}) - sum by (endpoint) (http_request_duration_seconds_count{${matched}})`,
        '{{endpoint}}',
      ),
    );
}

function activeHandles() {
  return timeSeries('Active handles by type')
    .description('Sockets, servers and the like that are open. Sockets grow with connections.')
    .unit(units.NoUnit)
    .span(8)
    .withTarget(query(`sum by (type) (nodejs_active_handles{${SELECTED}})`, '{{type}}'));
}

function fileDescriptors() {
  return timeSeries('File descriptors in use')
    .description('Share of the limit. At 100 % no connection and no file can be opened.')
    .unit(units.PercentUnit)
    .span(8)
    .withTarget(
      query(`process_open_fds{${SELECTED}} / process_max_fds{${SELECTED}}`, '{{instance}}'),
    );
}

function heap() {
  return timeSeries('Heap')
    .description(
      'JavaScript objects (used) and what V8 has reserved for them (total). A sawtooth is normal.',
    )
    .unit(units.BytesIEC)
    .span(8)
    .targets([
      query(`nodejs_heap_size_used_bytes{${SELECTED}}`, '{{instance}} used').refId('A'),
      query(`nodejs_heap_size_total_bytes{${SELECTED}}`, '{{instance}} total').refId('B'),
    ]);
}

function garbageCollection() {
  return timeSeries('Garbage collection')
    .description('Share of the time spent on it, by kind. A rise together with the heap is a leak.')
    .unit(units.PercentUnit)
    .span(8)
    .withTarget(
      query(
        `sum by (kind) (rate(nodejs_gc_duration_seconds_sum{${SELECTED}}[$__rate_interval]))`,
        '{{kind}}',
      ),
    );
}

function buildInfo() {
  return stat('Build')
    .description('How many instances run which version. Two versions at once are a rollout.')
    .unit(units.NoUnit)
    .span(4)
    .withTarget(
      instantQuery(
        `count by (version, node_version) (app_build_info{${SELECTED}})`,
        '{{version}} on Node.js {{node_version}}',
      ),
    );
}

function uptime() {
  return stat('Uptime')
    .description('Time since the start of each instance. One that keeps falling back to 0 crashes.')
    .unit(units.DurationSeconds)
    .decimals(0)
    .span(4)
    .withTarget(instantQuery(`time() - process_start_time_seconds{${SELECTED}}`, '{{instance}}'));
}

function firingAlerts() {
  return stat('Firing alerts')
    .description(
      'How many alerts are firing, of all jobs. Red marks on the graphs say when and which. A watchdog, severity none, is not counted.',
    )
    .unit(units.NoUnit)
    .colorMode(BigValueColorMode.Background)
    .thresholds(thresholds('green', [1, 'red']))
    .span(8)
    .withTarget(
      instantQuery('count(ALERTS{alertstate="firing", severity!="none"}) or vector(0)', 'firing'),
    );
}

function targetHealth() {
  return stat('Targets')
    .description('Whether the last scrape of each target worked. Choose all jobs to see them all.')
    .unit(units.NoUnit)
    .colorMode(BigValueColorMode.Background)
    .thresholds(thresholds('red', [1, 'green']))
    .mappings([
      { type: MappingType.ValueToText, options: { '0': { text: 'Down' }, '1': { text: 'Up' } } },
    ])
    .span(16)
    .withTarget(instantQuery(`up{${SELECTED}}`, '{{job}} {{instance}}'));
}

function query(expr: string, legendFormat = '') {
  return new DataqueryBuilder()
    .datasource(DATASOURCE)
    .editorMode(QueryEditorMode.Code)
    .range()
    .refId('A')
    .expr(expr)
    .legendFormat(legendFormat);
}

/** For a single number: over a range, replicas that are gone would go on to be shown for as long. */
function instantQuery(expr: string, legendFormat: string) {
  return query(expr, legendFormat).instant();
}

function timeSeries(title: string) {
  return new TimeSeriesBuilder()
    .title(title)
    .datasource(DATASOURCE)
    .height(8)
    .min(0)
    .fillOpacity(10)
    .legend(legend(['lastNotNull']))
    .tooltip(
      new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending),
    );
}

function stat(title: string) {
  return new StatBuilder()
    .title(title)
    .datasource(DATASOURCE)
    .height(8)
    .graphMode(BigValueGraphMode.None)
    .textMode(BigValueTextMode.ValueAndName)
    .reduceOptions(new ReduceDataOptionsBuilder().values(false).calcs(['lastNotNull']))
    .thresholds(thresholds('blue'));
}

function legend(calcs: string[]) {
  return new VizLegendOptionsBuilder()
    .showLegend(true)
    .displayMode(LegendDisplayMode.Table)
    .placement(LegendPlacement.Bottom)
    .calcs(calcs);
}

/** Draws the line from which an alert fires, and keeps it in sight when values are far below. */
function withThreshold(panel: TimeSeriesBuilder, value: number) {
  return panel
    .thresholds(thresholds('green', [value, 'red']))
    .thresholdsStyle(new GraphThresholdsStyleConfigBuilder().mode(GraphThresholdsStyleMode.Dashed))
    .axisSoftMax(value * 1.2);
}

function thresholds(base: string, ...steps: [value: number, color: string][]) {
  return new ThresholdsConfigBuilder()
    .mode(ThresholdsMode.Absolute)
    .steps([{ value: null, color: base }, ...steps.map(([value, color]) => ({ value, color }))]);
}
