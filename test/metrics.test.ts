import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, get, METHODS } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { samplesOf } from './helpers/exposition.ts';
import { readOpenMetrics } from './helpers/open-metrics.ts';
import { ask, statusesOf } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

test("the article's two metrics have its names, types, help and labels", async (t) => {
  const app = await spawnApp(t);
  await app.get('/my-view?seconds=0');
  const text = await readOpenMetrics(app.metricsUrl);
  // OpenMetrics names the family without "_total", and the sample with it.
  assert.match(text, /^# TYPE django_http_requests counter$/m);
  assert.match(text, /^# HELP django_http_requests Total number of HTTP requests$/m);
  assert.match(text, /^django_http_requests_total\{method="GET",endpoint="\/my-view"\} 1$/m);
  assert.match(text, /^# TYPE django_active_users gauge$/m);
  assert.match(text, /^# HELP django_active_users Number of active users$/m);
  assert.match(text, /^django_active_users 0$/m);
  assert.match(text, /^# TYPE http_request_duration_seconds histogram$/m);
  assert.match(text, /^app_build_info\{version="\d+\.\d+\.\d+",node_version="v\d+.*"\} 1$/m);
  assert.match(text, /^process_cpu_seconds_total /m);
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m);
  assert.ok(text.endsWith('# EOF\n'));
});

test('every route is counted and timed by its pattern and status', async (t) => {
  const app = await spawnApp(t);
  for (const [path, endpoint, status] of [
    ['/', '/', 200],
    ['/trigger-error', '/trigger-error/', 500],
    ['/my-view?seconds=0', '/my-view', 200],
    ['/healthz', '/healthz', 200],
    ['/readyz?a=b', '/readyz', 200],
  ]) {
    await (await app.get(String(path))).text();
    const labels = `method="GET",endpoint="${endpoint}"`;
    assert.equal(await app.metric(`django_http_requests_total{${labels}}`), 1, `${path} counted`);
    const timed = `http_request_duration_seconds_count{${labels},status_code="${status}"}`;
    await eventually(async () => assert.equal(await app.metric(timed), 1, `${path} timed`));
  }
});

test('what has begun and not ended is the difference of the two counters', async (t) => {
  const app = await spawnApp(t);
  const inFlight = async () => {
    const labels = 'method="GET",endpoint="/my-view"';
    const begun = await app.metric(`django_http_requests_total{${labels}}`);
    const samples = samplesOf(await (await fetch(app.metricsUrl)).text());
    const ended = samples
      .filter(({ name }) => name === 'http_request_duration_seconds_count')
      .filter(({ labels: { endpoint } }) => endpoint === '/my-view')
      .reduce((total, { value }) => total + value, 0);
    return Number(begun) - ended;
  };
  const leave = new AbortController();
  const visits = [1, 2, 3].map(() => app.get('/my-view?seconds=10', { signal: leave.signal }));
  await eventually(async () => assert.equal(await inFlight(), 3));
  leave.abort();
  await Promise.allSettled(visits);
  await eventually(async () => assert.equal(await inFlight(), 0));
});

test('every kind of failure has its series before it happens', async (t) => {
  const app = await spawnApp(t);
  for (const status of [500, 502, 503, 504]) {
    const labels = `method="GET",endpoint="/my-view",status_code="${status}"`;
    assert.equal(await app.metric(`http_request_duration_seconds_count{${labels}}`), 0, labels);
  }
  for (const reason of ['network_error', 'http_error', 'callback_error']) {
    const labels = `category="error",reason="${reason}"`;
    assert.equal(await app.metric(`sentry_events_lost_total{${labels}}`), 0, labels);
  }
});

test('every series that is prepared can rise, and a first 5xx is one that was at 0', async (t) => {
  const app = await spawnApp(t, {}, 'test/fixtures/failing-server.js');
  const prepared = samplesOf(await (await fetch(app.metricsUrl)).text())
    .filter(({ labels }) => labels.endpoint === '/any-method')
    .filter(({ name }) => /_(total|count)$/.test(name));
  const known = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'other'];
  assert.deepEqual(new Set(prepared.map(({ labels }) => labels.method)), new Set(known));
  for (const { name, labels, value } of prepared) assert.equal(value, 0, `${name} ${labels}`);
  const statuses = new Set(prepared.map(({ labels }) => labels.status_code).filter(Boolean));
  assert.deepEqual(statuses, new Set(['200', '500', '502', '503', '504']));
  assert.equal(prepared.length, known.length * (1 + statuses.size));

  await sendRaw(app.url, 'TRACE', '/any-method');
  const odd = 'django_http_requests_total{method="other",endpoint="/any-method"}';
  assert.equal(await app.metric(odd), 1);
});

test('a thousand unknown paths share one series', async (t) => {
  const app = await spawnApp(t);
  const before = await countSeries(app.metricsUrl);
  for (let batch = 0; batch < 20; batch++) {
    const visits = Array.from({ length: 50 }, () => app.get(`/random/${Math.random()}`));
    await Promise.all(visits.map(async (visit) => (await visit).text()));
  }
  const counted = 'django_http_requests_total{method="GET",endpoint="unmatched"}';
  assert.equal(await app.metric(counted), 1000);
  await assertOneMoreAtMost(before, app.metricsUrl);
});

test('fifty odd methods share one series', async (t) => {
  const app = await spawnApp(t);
  const before = await countSeries(app.metricsUrl);
  const usual = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
  const odd = METHODS.filter((method) => !usual.includes(method));
  while (odd.length < 50) odd.push(`ODD${odd.length}`);
  for (const method of odd) await sendRaw(app.url, method);
  // The rest do not get as far: Node.js itself answers 400 to a method that it does not know.
  const counted = 'django_http_requests_total{method="other",endpoint="unmatched"}';
  assert.ok(Number(await app.metric(counted)) > 10);
  await assertOneMoreAtMost(before, app.metricsUrl);
});

test('what is refused before any route is counted by its status', async (t) => {
  const app = await spawnApp(t);
  const counted = (status: number) =>
    app.metric(
      `http_request_duration_seconds_count{method="other",endpoint="unmatched",status_code="${status}"}`,
    );
  for (const [bytes, status] of [
    ['GET / HTTP/1.1\r\nHost: localhost\r\nExpect: something\r\n\r\n', 417],
    ['CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n', 405],
    ['nonsense\r\n\r\n', 400],
  ] as const) {
    assert.equal(await counted(status), 0, bytes);
    const answer = await ask(app.url, bytes);
    assert.deepEqual(statusesOf(answer), [status], bytes);
    if (status === 405) assert.match(answer, /^Allow: /m);
    await eventually(async () => assert.equal(await counted(status), 1, bytes));
  }
  const withoutHost = 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n';
  assert.deepEqual(statusesOf(await ask(app.url, withoutHost)), [400]);
  const labels = 'method="GET",endpoint="/",status_code="400"';
  await eventually(async () =>
    assert.equal(await app.metric(`http_request_duration_seconds_count{${labels}}`), 1),
  );
});

test('clients that hang up on the answer to CONNECT, or do not, keep nothing from stopping', async (t) => {
  const app = await spawnApp(t);
  const { hostname, port } = new URL(app.url);
  for (let count = 0; count < 20; count++) {
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    socket.on('error', () => {}).write('CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    if (count % 2) socket.resetAndDestroy();
    t.after(() => socket.destroy());
  }
  assert.equal((await app.get('/healthz')).status, 200);
  assert.equal(await app.stop(), 0);
});

/** How many series each metric of the application has; the buckets of a histogram are one. */
async function countSeries(metricsUrl: string): Promise<Map<string, number>> {
  const samples = samplesOf(await (await fetch(metricsUrl)).text());
  const series = new Map<string, Set<string>>();
  for (const { name, labels } of samples) {
    // These have a series for each type of handle that is open at the moment.
    if (name.startsWith('nodejs_')) continue;
    const { le, ...rest } = labels;
    series.set(name, (series.get(name) ?? new Set()).add(JSON.stringify(rest)));
  }
  return new Map([...series].map(([name, { size }]) => [name, size]));
}

async function assertOneMoreAtMost(before: Map<string, number>, metricsUrl: string) {
  for (const [name, count] of await countSeries(metricsUrl)) {
    assert.ok(count - (before.get(name) ?? 0) <= 1, `${name} has at most one series more`);
  }
}

/** For methods that fetch refuses to send. */
async function sendRaw(url: string, method: string, path = '/') {
  const { host, hostname, port } = new URL(url);
  // CONNECT, for example, may end in a reset: that is an answer, too.
  const socket = connect(Number(port), hostname).on('error', () => {});
  // Without a type, QUERY would end with a status of its own: 400.
  const headers = `Host: ${host}\r\nConnection: close\r\nContent-Type: text/plain\r\n`;
  socket.write(`${method} ${path} HTTP/1.1\r\n${headers}Content-Length: 0\r\n\r\n`);
  await new Promise((resolve) => socket.resume().once('close', resolve));
}

test('/metrics has a port of its own, and is not counted', async (t) => {
  const app = await spawnApp(t);
  assert.equal((await app.get('/metrics')).status, 404);
  await fetch(app.metricsUrl);
  const text = await (await fetch(app.metricsUrl)).text();
  assert.doesNotMatch(text, /endpoint="\/metrics"/);
});

test('the exposition keeps the rules of OpenMetrics', async (t) => {
  const lines = (await exposition(t)).text.split('\n');
  assert.deepEqual(lines.splice(-2), ['# EOF', ''], 'ends in # EOF');

  const types = new Map<string, string>();
  const helps = new Set<string>();
  let family = '';
  for (const line of lines) {
    const [, keyword, name = '', text = ''] = /^# (HELP|TYPE) (\S+) (\S.*)$/.exec(line) ?? [];
    if (keyword) {
      if (keyword === 'TYPE') assert.ok(!types.has(name), `${name} has one TYPE`);
      else assert.ok(!helps.has(name), `${name} has one HELP`);
      if (keyword === 'TYPE') types.set(name, text);
      else helps.add(name);
      family = name;
      continue;
    }
    const [sample = ''] = /^\w+/.exec(line) ?? [];
    assert.ok(types.has(family) && helps.has(family), `${sample} comes after its TYPE and HELP`);
    const suffixes = SUFFIXES[types.get(family) ?? ''] ?? [];
    assert.ok(
      suffixes.some((suffix) => sample === family + suffix),
      `"${line}" is a sample of the ${types.get(family)} ${family}`,
    );
  }
});

/** What the names of a family's samples end in. */
const SUFFIXES: Record<string, string[]> = {
  counter: ['_total'],
  gauge: [''],
  histogram: ['_bucket', '_sum', '_count'],
};

const strictParser = spawnSync('python3', ['-c', 'import prometheus_client']);

test(
  'the parsers of Prometheus for Python, of which one is strict, take the exposition',
  strictParser.status === 0
    ? {}
    : { skip: 'the Python package prometheus_client is not installed' },
  async (t) => {
    const { app, text } = await exposition(t);
    const asText = await (await fetch(app.metricsUrl)).text();
    for (const [parser, input] of [
      ['openmetrics.parser', text],
      ['parser', asText],
    ]) {
      const program = `
import sys
from prometheus_client.${parser} import text_string_to_metric_families
print(len(list(text_string_to_metric_families(sys.stdin.read()))))`;
      const run = spawnSync('python3', ['-c', program], { input, encoding: 'utf8' });
      assert.ok(Number(run.stdout) > 30, run.stderr);
    }
  },
);

async function exposition(t: TestContext) {
  const app = await spawnApp(t);
  for (const path of ['/my-view?seconds=0', '/trigger-error/', '/missing']) {
    await (await app.get(path)).text();
  }
  return { app, text: await readOpenMetrics(app.metricsUrl) };
}

const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

test('text is for everybody who does not ask for OpenMetrics', async (t) => {
  const app = await spawnApp(t);
  const typeFor = async (accept?: string) => {
    // Not fetch(), which would ask for anything.
    const [response] = await once(
      get(app.metricsUrl, { headers: accept === undefined ? {} : { accept } }),
      'response',
    );
    assert.equal(response.statusCode, 200, accept);
    assert.equal(response.headers.vary, 'accept');
    response.resume();
    return response.headers['content-type'];
  };
  const prometheus2 =
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const prometheus3 =
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2';
  for (const accept of [
    prometheus2,
    prometheus3,
    'application/openmetrics-text',
    'Application/OpenMetrics-Text; Version="1.0.0"',
    'application/openmetrics-text, text/plain',
    'text/plain;q=0.4,\tapplication/openmetrics-text ; q=0.5',
    '*/*, text/plain;q=0.1, application/openmetrics-text;q=0.2',
    'text/*;q=0.3, */*, application/openmetrics-text;q=0.4',
  ]) {
    assert.equal(await typeFor(accept), OPEN_METRICS, accept);
  }
  const browser =
    'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8';
  for (const accept of [
    undefined,
    '',
    '*/*',
    browser,
    'text/plain;version=0.0.4',
    'image/png',
    'application/*',
    'application/openmetrics-text;q=0, */*',
    'application/openmetrics-text;q=0',
    'application/openmetrics-text;q=none',
    'application/openmetrics-text;q=0.5, text/plain',
    'application/openmetrics-text;q=0.5, text/*',
    'application/openmetrics-text;q=0.5, */*',
    'application/openmetrics-text;version=0.0.1',
    'application/openmetrics-text;version=2.0.0',
    ',;=,',
  ]) {
    assert.equal(await typeFor(accept), TEXT, accept);
  }
});

test('both formats have the same series, in whatever order they are asked for', async (t) => {
  const app = await spawnApp(t);
  const asText = async () => (await fetch(app.metricsUrl)).text();
  // Its series are there from the first garbage collection on, which answers like these bring about.
  const first = await eventually(async () => {
    const text = await asText();
    assert.match(text, /^nodejs_gc_duration_seconds_count/m);
    return text;
  });
  const openMetrics = await readOpenMetrics(app.metricsUrl);
  const [text, openMetricsAgain] = await Promise.all([asText(), readOpenMetrics(app.metricsUrl)]);
  const seriesOf = (text: string) => samplesOf(text).map(({ name }) => name);
  for (const other of [first, text, openMetricsAgain]) {
    assert.deepEqual(new Set(seriesOf(other)), new Set(seriesOf(openMetrics)));
  }
  for (const text of [first, await asText()]) {
    assert.match(text, /^# TYPE django_http_requests_total counter$/m);
    assert.doesNotMatch(text, / # \{|# EOF/, 'neither exemplars nor an end');
  }
  assert.match(openMetrics, /^# TYPE django_http_requests counter$/m);
});

test('a metric that cannot be read says nothing of its error, and is logged and reported', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, 'test/fixtures/failing-server.js');
  for (const failure of ['error', 'rejection', 'frozen', 'getter']) {
    await app.get(`/fail/metrics/${failure}`);
    // Every scrape is logged; one event says that it began.
    for (const accept of ['*/*', 'application/openmetrics-text']) {
      const response = await fetch(app.metricsUrl, { headers: { accept } });
      assert.equal(response.status, 500);
      assert.match(response.headers.get('content-type') ?? '', /^text\/plain/);
      assert.equal(await response.text(), 'The metrics cannot be read.\n');
    }
    await app.get('/fail/metrics/none');
    assert.equal((await fetch(app.metricsUrl)).status, 200, 'and it comes back');
  }
  await app.stop();
  const lines = app.log.filter(({ msg }) => msg === 'the metrics cannot be read');
  assert.equal(lines.length, 8);
  assert.match(JSON.stringify(lines[0]), /redis:\/\/user:secret@/);
  assert.equal(sink.items('event').length, 4);
});

test('an application uses prom-client beside the folder as its documentation shows', async (t) => {
  const pushed: string[] = [];
  // A fake one, which refuses nothing: what it was sent is looked at below.
  const pushgateway = createServer(async (request, response) => {
    pushed.push(await buffer(request).then(String));
    response.end();
  }).listen(0);
  t.after(() => pushgateway.close());
  await once(pushgateway, 'listening');
  const { port } = pushgateway.address() as AddressInfo;

  const fixture = 'test/fixtures/own-metrics-server.js';
  for (const COLLECT of ['before', 'after', 'never', 'exemplars']) {
    const environment = { COLLECT, PUSHGATEWAY_URL: `http://127.0.0.1:${port}` };
    const app = await spawnApp(t, environment, fixture);
    // A traced request: the latency histogram has an exemplar.
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    await app.get('/missing', { headers: { traceparent } });
    const openMetrics = await readOpenMetrics(app.metricsUrl);
    const text = await (await fetch(app.metricsUrl)).text();
    for (const format of [openMetrics, text]) {
      assert.equal(format.match(/^process_cpu_user_seconds_total\{service="shop"\} /gm)?.length, 1);
      assert.match(format, /^orders_total\{service="shop"\} 10$/m);
    }
    if (COLLECT === 'exemplars') {
      assert.match(openMetrics, /^refunds_total\{service="shop"\} 2 # \{order="o1"\} 2 /m);
      continue;
    }
    // Of the default registry everybody else gets what prom-client alone would give.
    assert.equal((await app.get('/push')).status, 200);
    const merged = await (await app.get('/merged')).text();
    assert.match(merged, /^stock 3$/m);
    for (const other of [await (await app.get('/default')).text(), merged, pushed.pop() ?? '']) {
      assert.match(other, /^# TYPE orders counter\norders(\{service="shop"\})? 10$/m);
      assert.match(other, /^http_request_duration_seconds_count\{/m);
      assert.doesNotMatch(other, / # \{|# EOF/, 'no OpenMetrics');
    }
  }
});
