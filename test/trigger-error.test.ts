import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

test('four visits are four events of one kind, with source, request and trace', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, {
    SENTRY_DSN: sink.dsn,
    SENTRY_ENVIRONMENT: 'test',
    SENTRY_RELEASE: 'app@1.2.3',
    SENTRY_EVENT_URL: 'http://tracker.example/issues/event/',
  });

  const pages: Record<string, string | undefined>[] = [];
  for (const path of ['/trigger-error/', '/trigger-error', '/trigger-error/', '/trigger-error/']) {
    const response = await app.get(path);
    assert.equal(response.status, 500);
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
    const html = await response.text();
    assert.doesNotMatch(
      html,
      /Division by zero|RangeError|\.ts:|\.js:/,
      'the error is not disclosed',
    );
    pages.push({
      eventId: eventIdOn(html),
      traceId: /id="trace-id">([0-9a-f]{32})</.exec(html)?.[1],
      link: /id="event-link" href="([^"]+)"/.exec(html)?.[1],
    });
  }

  const events = await eventually(() => {
    const events = sink.items('event');
    assert.equal(events.length, 4);
    return events;
  });
  assert.deepEqual(
    events.map((event) => event.event_id).sort(),
    pages.map((page) => page.eventId).sort(),
  );

  for (const event of events) {
    const eventId: string = event.event_id;
    const page = pages.find((page) => page.eventId === eventId);
    const uuid = eventId.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    assert.equal(page?.link, `http://tracker.example/issues/event/${uuid}`);
    assert.equal(event.contexts.trace.trace_id, page?.traceId);
    assert.equal(event.environment, 'test');
    assert.equal(event.release, 'app@1.2.3');
    assert.equal(event.transaction, 'GET /trigger-error/');
    assert.equal(event.request.method, 'GET');
    assert.match(event.request.url, new RegExp(`^${app.url}/trigger-error/?$`));

    const [exception] = event.exception.values;
    assert.equal(exception.type, 'RangeError');
    assert.equal(exception.value, 'Division by zero');
    const frame = exception.stacktrace.frames.at(-1);
    assert.match(frame.filename, /src\/routes\/trigger-error\.ts$/);
    assert.match(frame.context_line, /1n \/ 0n/);
    assert.ok(frame.pre_context.length > 0 && frame.post_context.length > 0);
    assert.equal(frame.in_app, true);
  }
  // What a tracker groups by: all four come from the same place.
  const places = events.map((event) => {
    const { function: name, filename, lineno } = event.exception.values[0].stacktrace.frames.at(-1);
    return `${name} ${filename} ${lineno}`;
  });
  assert.equal(new Set(places).size, 1);
});

test('without a DSN the page is the same, but claims no event, and the start says so', async (t) => {
  const app = await spawnApp(t, { SENTRY_DSN: '' });
  assert.ok(app.log.some(({ level, msg }) => level === 40 && msg.startsWith('Sentry is off')));

  const response = await app.get('/trigger-error/');
  const html = await response.text();
  assert.equal(response.status, 500);
  assert.match(html, /Sentry is off/);
  assert.doesNotMatch(html, /id="event-id"|id="event-link"/);
});

test('without traces the event still has the trace id that the page shows', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: '0' });
  const html = await (await app.get('/trigger-error/')).text();
  const traceId = /id="trace-id">([0-9a-f]{32})</.exec(html)?.[1];
  await eventually(() => assert.equal(sink.items('event').length, 1));
  assert.equal(sink.items('event')[0].contexts.trace.trace_id, traceId);
  assert.equal(sink.items('transaction').length, 0);
});

test('requests are traced by their route, probes are not, and a 4xx is no event', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
  for (const path of ['/healthz', '/readyz', '/style.css', '/no/such/page', '/my-view?seconds=x']) {
    await app.get(path);
  }
  await app.get('/my-view?seconds=0');
  assert.equal(await app.stop(), 0);
  assert.deepEqual(
    sink
      .items('transaction')
      .map(({ transaction }) => transaction)
      .sort(),
    ['GET /my-view', 'GET /my-view', 'GET unmatched'],
  );
  assert.equal(sink.items('event').length, 0);
});
