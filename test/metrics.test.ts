import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { METHODS } from 'node:http';
import { test } from 'node:test';
import Fastify from 'fastify';
import { Counter, collectDefaultMetrics, Histogram, register } from 'prom-client';
import monitoring from '../src/monitoring/index.ts';
import { eventually } from './helpers/eventually.ts';
import { samplesOf } from './helpers/exposition.ts';
import { ask } from './helpers/raw.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const MONITORED = 'test/fixtures/monitored/server.js';
const COUNT = 'http_request_duration_seconds_count';

test("the article's two metrics have its names, types, help and labels", async (t) => {
  const app = await spawnApp(t);
  await app.get('/my-view?seconds=0');
  const text = await (await fetch(app.metricsUrl)).text();
  // OpenMetrics names the family without "_total", and the sample with it.
  assert.match(text, /^# TYPE django_http_requests counter$/m);
  assert.match(text, /^# HELP django_http_requests Total number of HTTP requests$/m);
  assert.match(text, /^django_http_requests_total\{method="GET",endpoint="\/my-view"\} 1$/m);
  assert.match(text, /^# TYPE django_active_users gauge$/m);
  assert.match(text, /^# HELP django_active_users Number of active users$/m);
  assert.match(text, /^django_active_users 0$/m);
  assert.match(text, /^process_cpu_seconds_total /m);
});

test('/metrics has a port of its own, is not counted, and is text to a browser', async (t) => {
  const app = await spawnApp(t, {}, MONITORED);
  assert.equal((await app.get('/metrics')).status, 404);
  const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const prometheus = 'application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3,*/*;q=0.2';
  for (const [accept, type] of [
    [prometheus, 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
    ['*/*', 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
    [browser, 'text/plain; charset=utf-8'],
  ] as const) {
    const response = await fetch(app.metricsUrl, { headers: { accept } });
    assert.equal(response.headers.get('content-type'), type, accept);
    const text = await response.text();
    assert.ok(text.endsWith('# EOF\n'));
    assert.doesNotMatch(text, /endpoint="\/metrics"/);
  }
});

test('every route has its series at 0 before its first request', async (t) => {
  const app = await spawnApp(t, {}, MONITORED);
  const samples = samplesOf(await (await fetch(app.metricsUrl)).text());
  const prepared = samples.filter(
    ({ name, labels }) => name === COUNT && labels.endpoint === '/crowd/:id',
  );
  const statuses = ['200', '500', '503'];
  assert.deepEqual(
    prepared.map(({ labels, value }) => [labels.method, labels.status_code, value]).sort(),
    ['GET', 'POST'].flatMap((method) => statuses.map((status) => [method, status, 0])),
  );
});

test('whatever clients request, the number of series is bounded', async (t) => {
  const app = await spawnApp(t, {}, MONITORED);
  const series = async () => {
    const samples = samplesOf(await (await fetch(app.metricsUrl)).text());
    return samples.filter(({ name }) => name === COUNT);
  };
  const before = (await series()).length;
  for (let batch = 0; batch < 10; batch++) {
    const visits = Array.from({ length: 50 }, () => app.get(`/random/${Math.random()}?x=${batch}`));
    await Promise.all(visits.map(async (visit) => (await visit).text()));
  }
  // Fastify answers these at once; CONNECT is rejected by Node.js itself.
  const odd = METHODS.filter((method) => /^(PROPFIND|MKCOL|LOCK|TRACE|SEARCH)$/.test(method));
  for (const method of odd) {
    await ask(app.url, `${method} /${method} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  }
  await eventually(async () => {
    const unmatched = (await series()).filter(({ labels }) => labels.endpoint === 'unmatched');
    assert.deepEqual(
      unmatched.map(({ labels, value }) => [labels.method, labels.status_code, value]).sort(),
      [
        ['GET', '404', 500],
        ['other', '404', odd.length],
      ],
    );
  });
  assert.equal((await series()).length, before + 2);
});

/** A monitored application with a route. */
async function monitored() {
  const app = Fastify();
  await app.register(monitoring, { metrics: { port: 0 } });
  app.get('/', () => 'ok');
  return app;
}

test('an application may collect the default metrics itself, and start twice', async (t) => {
  t.after(() => register.clear());
  collectDefaultMetrics();
  new Counter({ name: 'orders', help: 'Orders' }).inc(10);
  const apps = [await monitored(), await monitored()];
  for (const app of apps) {
    t.after(() => app.close());
    const address = await app.listen({ port: 0 });
    assert.equal((await fetch(address)).status, 200);
  }
  const text = await eventually(async () => {
    const text = await register.metrics();
    const labels = 'method="GET",endpoint="/",status_code="200"';
    assert.ok(text.includes(`\n${COUNT}{${labels}} 2\n`));
    return text;
  });
  assert.match(text, /^orders_total 10$/m);
  assert.equal(text.match(/^process_cpu_seconds_total /gm)?.length, 1);
});

test('a metric whose name is taken is rejected with what to do', async (t) => {
  t.after(() => register.clear());
  new Histogram({ name: 'http_request_duration_seconds', help: 'The own one' });
  await assert.rejects(
    monitored(),
    /has a metric http_request_duration_seconds already, .* Remove or rename it/,
  );
});

const parser = spawnSync('python3', ['-c', 'import prometheus_client']);
const skip = parser.status !== 0 && 'the Python package prometheus_client is not installed';

test('the strict OpenMetrics parser accepts /metrics', { skip }, async (t) => {
  const app = await spawnApp(t, {}, MONITORED);
  for (const path of ['/thrown', '/traced']) await app.get(path);
  const input = await (await fetch(app.metricsUrl)).text();
  const program = `
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(len(list(text_string_to_metric_families(sys.stdin.read()))))`;
  const run = spawnSync('python3', ['-c', program], { input, encoding: 'utf8' });
  assert.ok(Number(run.stdout) > 20, run.stderr);
});
