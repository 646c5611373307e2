/** What a real Jaeger makes of the application's spans, read back through its API. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEnvelopeSink } from '../helpers/envelope-sink.ts';
import { eventIdOn } from '../helpers/event-id.ts';
import { eventually } from '../helpers/eventually.ts';
import { readSeries, sumOf } from '../helpers/series.ts';
import { spawnApp } from '../helpers/spawn-app.ts';
import { docker } from './helpers/compose.ts';
import { searchTraces, startJaeger, traceOf } from './helpers/jaeger.ts';
import { asUuid } from './helpers/services.ts';

execFileSync('npm', ['run', 'build'], { stdio: ['ignore', 'ignore', 'inherit'] });
const images = (await docker(['compose', 'config', '--images'])).split('\n');
const image = images.find((image) => image.startsWith('jaegertracing/'));
assert.ok(image);
const jaeger = await startJaeger(image);

const CALLER = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };
const settings = {
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: jaeger.endpoint,
  SENTRY_MAX_TRACES_PER_SECOND: '1000',
  ERRORS_PER_SECOND: '1000',
};
const traceIdOf = (response: Response) => response.headers.get('x-trace-id') ?? '';

test('a page has a span, its work another, and both last as long as they did', async (t) => {
  const app = await spawnApp(t, { ...settings, OTEL_SERVICE_NAME: 'shop' });
  const response = await app.get('/my-view?seconds=1');
  const [page, work] = await traceOf(jaeger.url, traceIdOf(response), 2);
  assert.ok(page && work);
  assert.equal(page.name, 'GET /my-view');
  assert.equal(page.parent, undefined);
  assert.equal(page.tags['span.kind'], 'server');
  assert.equal(page.tags['http.route'], '/my-view');
  assert.equal(page.tags['http.response.status_code'], 200);
  assert.equal(page.service, 'shop');
  assert.equal(page.serviceTags['deployment.environment.name'], 'development');
  assert.equal(work.name, 'your code');
  assert.deepEqual(work.parent, { traceId: page.traceId, spanId: page.spanId });

  // The histogram's clock starts a little before the span, and stops about when it does.
  const labels = '{method="GET",endpoint="/my-view",status_code="200"}';
  const seconds = (await app.metric(`http_request_duration_seconds_sum${labels}`)) ?? 0;
  assert.ok(page.duration / 1e6 <= seconds + 0.5, `${page.duration} µs, ${seconds} s`);
  assert.ok(work.duration / 1e6 >= 0.99 && work.duration <= page.duration);
  assert.ok(work.start >= page.start);

  const slow = new URLSearchParams({ service: 'shop', minDuration: '500ms', limit: '20' });
  const found = await searchTraces(jaeger.url, slow);
  assert.deepEqual(
    found.map(({ spanId }) => spanId),
    [page.spanId, work.spanId],
  );
});

test('a failed page is an error with its event, under the span of its caller', async (t) => {
  const tracker = await startEnvelopeSink(t);
  const app = await spawnApp(t, { ...settings, SENTRY_DSN: tracker.dsn });
  const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-01`;
  const response = await app.get('/trigger-error/', { headers: { traceparent } });
  const [page] = await traceOf(jaeger.url, CALLER.traceId, 1);
  assert.deepEqual(page?.parent, CALLER);
  assert.equal(page?.tags.error, true);
  assert.equal(page?.tags['error.type'], 'RangeError');
  assert.equal(page?.tags['sentry.event_id'], asUuid(eventIdOn(await response.text()) ?? ''));

  const missing = await app.get('/no/such/page');
  const [span] = await traceOf(jaeger.url, traceIdOf(missing), 1);
  assert.equal(span?.tags.error, undefined, 'a 404 is no error of the server');
});

test('Jaeger takes whatever an application puts on a span', async (t) => {
  const app = await spawnApp(t, settings, 'test/fixtures/failing-server.js');
  const [, odd] = await traceOf(jaeger.url, traceIdOf(await app.get('/odd-span')), 2);
  assert.equal(odd?.name, '123');
  for (const [tag, value] of Object.entries({
    large: 1e300,
    none: 'NaN',
    flag: false,
    part: 0.5,
  })) {
    assert.equal(odd?.tags[tag], value, tag);
  }
});

test('of 300 requests at once each has its own trace, whole and with its own parents', async (t) => {
  const app = await spawnApp(t, settings);
  const visits = Array.from({ length: 300 }, async (_, n) => {
    const path = n % 3 ? '/my-view?seconds=0.2' : '/trigger-error/other/?seconds=0.1';
    return { name: `GET ${path.split('?')[0]}`, traceId: traceIdOf(await app.get(path)) };
  });
  const all = await Promise.all(visits);
  assert.equal(new Set(all.map(({ traceId }) => traceId)).size, 300);
  for (const { name, traceId } of all) {
    const [page, work] = await traceOf(jaeger.url, traceId, 2);
    assert.equal(page?.name, name);
    assert.deepEqual(work?.parent, { traceId, spanId: page?.spanId });
  }
  assert.equal(sumOf(await readSeries(app.metricsUrl), 'otlp_spans_lost_total'), 0);
});

for (const [how, end, back] of [
  ['is stopped', 'stop', 'start'],
  ['hangs', 'pause', 'unpause'],
] as const) {
  test(`a Jaeger that ${how} under load: every page is answered, every loss counted`, async (t) => {
    const app = await spawnApp(t, settings);
    const lost = async () => sumOf(await readSeries(app.metricsUrl), 'otlp_spans_lost_total');
    const answered: string[] = [];
    let [refused, isOver] = [0, false];
    const visit = async () => {
      while (!isOver) {
        const response = await app.get('/my-view?seconds=0').catch(() => undefined);
        if (response?.ok) answered.push(traceIdOf(response));
        else refused += 1;
        await sleep(20);
      }
    };
    const visitors = Promise.all(Array.from({ length: 5 }, visit));

    await eventually(() => assert.ok(answered.length > 50));
    await jaeger.run(end);
    await eventually(async () => assert.ok((await lost()) > 0, 'losses are counted'), 30);
    await jaeger.run(back);
    await jaeger.isThere();
    // The one that has just answered may still have been lost with what it kept.
    await eventually(async () => {
      const response = await app.get('/my-view?seconds=0');
      await traceOf(jaeger.url, traceIdOf(response), 2);
    }, 60);

    isOver = true;
    await visitors;
    assert.equal(refused, 0, 'pages are unaffected');
    const before = await lost();
    const last = await app.get('/my-view?seconds=0');
    await traceOf(jaeger.url, traceIdOf(last), 2);
    assert.equal(await lost(), before, 'nothing is lost any more');
    if (end === 'stop') return;
    // Of what was on its way nobody knows whether it arrives: it counts as lost, and may be there.
    const missing = await Promise.all(
      answered.map(async (id) => (await fetch(`${jaeger.url}/api/traces/${id}`)).status === 404),
    );
    assert.ok(missing.filter(Boolean).length * 2 <= before, 'no trace is lost silently');
  });
}
