import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

test("the article's two metrics have its names, types, help and labels", async (t) => {
  const app = await spawnApp(t);
  await app.get('/my-view?seconds=0');
  const response = await fetch(app.metricsUrl);
  assert.equal(
    response.headers.get('content-type'),
    'application/openmetrics-text; version=1.0.0; charset=utf-8',
  );
  const text = await response.text();
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

test('whatever clients ask for, unknown paths and methods share one series', async (t) => {
  const app = await spawnApp(t);
  const countSeries = async () => {
    const text = await (await fetch(app.metricsUrl)).text();
    return text.split('\n').filter((line) => line.startsWith('django_http_requests_total')).length;
  };
  const before = await countSeries();
  for (let i = 0; i < 50; i++) await app.get(`/random/${Math.random()}`);
  for (const method of ['PROPFIND', 'LOCK', 'MKCOL']) await app.get('/', { method });
  assert.equal(
    await app.metric('django_http_requests_total{method="GET",endpoint="unmatched"}'),
    50,
  );
  assert.equal(
    await app.metric('django_http_requests_total{method="other",endpoint="unmatched"}'),
    3,
  );
  assert.equal(await countSeries(), before + 2);
});

test('/metrics has a port of its own, and is not counted', async (t) => {
  const app = await spawnApp(t);
  assert.equal((await app.get('/metrics')).status, 404);
  await fetch(app.metricsUrl);
  const text = await (await fetch(app.metricsUrl)).text();
  assert.doesNotMatch(text, /endpoint="\/metrics"/);
});
