import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventUrl, prometheusQuery, slowTraces, traceUrl } from '../src/guide/links.ts';

const eventId = '87550a8e13364becbb42d9fb78987614';

test('the link to an event has its id with dashes', () => {
  assert.equal(
    eventUrl({ SENTRY_EVENT_URL: 'http://localhost:9000/issues/event/' }, eventId),
    'http://localhost:9000/issues/event/87550a8e-1336-4bec-bb42-d9fb78987614',
  );
  assert.equal(
    eventUrl({ SENTRY_EVENT_URL: 'https://example.sentry.io/issues/?query=' }, eventId),
    'https://example.sentry.io/issues/?query=87550a8e-1336-4bec-bb42-d9fb78987614',
  );
  assert.equal(eventUrl({ SENTRY_EVENT_URL: '' }, eventId), '');
});

test('the link to a query has it escaped', () => {
  const url = new URL(prometheusQuery('http://localhost:9090', 'rate(a{b="c&d"}[1m])'));
  assert.equal(url.origin + url.pathname, 'http://localhost:9090/query');
  assert.equal(url.searchParams.get('g0.expr'), 'rate(a{b="c&d"}[1m])');
  assert.equal(prometheusQuery('', 'up'), '');
});

test("the links to Jaeger are a trace's page and its search", () => {
  const settings = { JAEGER_URL: 'http://localhost:16686', OTEL_SERVICE_NAME: 'a&b' };
  assert.equal(
    traceUrl(settings, '4bf92f3577b34da6a3ce929d0e0e4736'),
    'http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736',
  );
  const search = new URL(slowTraces(settings));
  assert.equal(search.origin + search.pathname, 'http://localhost:16686/search');
  assert.equal(search.searchParams.get('service'), 'a&b');
  for (const none of [
    traceUrl({ JAEGER_URL: '' }, 'a'),
    slowTraces({ ...settings, JAEGER_URL: '' }),
  ]) {
    assert.equal(none, '');
  }
});
