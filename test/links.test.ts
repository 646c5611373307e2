import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventUrl, prometheusQuery, slowTraces, traceUrl } from '../src/guide/links.ts';

const id = '87550a8e13364becbb42d9fb78987614';
const uuid = '87550a8e-1336-4bec-bb42-d9fb78987614';
const bugsink = 'http://localhost:9000/issues/event/';
const sentry = 'https://acme.sentry.io/issues/?query=';
const jaeger = 'http://localhost:16686';
const prometheus = 'http://localhost:9090';

for (const [what, link, expected] of [
  ['an event in Bugsink', eventUrl({ SENTRY_EVENT_URL: bugsink }, id), bugsink + uuid],
  ['an event in Sentry', eventUrl({ SENTRY_EVENT_URL: sentry }, id), sentry + uuid],
  ['no event without a tracker', eventUrl({ SENTRY_EVENT_URL: '' }, id), ''],
  [
    'a query, escaped',
    prometheusQuery(prometheus, 'a{b="c&d"}'),
    `${prometheus}/query?g0.expr=a%7Bb%3D%22c%26d%22%7D&g0.tab=graph`,
  ],
  ['no query without Prometheus', prometheusQuery('', 'up'), ''],
  ['a trace', traceUrl({ JAEGER_URL: jaeger }, id), `${jaeger}/trace/${id}`],
  ['no trace without Jaeger', traceUrl({ JAEGER_URL: '' }, id), ''],
  ['no search without Jaeger', slowTraces({ JAEGER_URL: '', OTEL_SERVICE_NAME: 'a' }), ''],
] as const) {
  test(`the guide links to ${what}`, () => assert.equal(link, expected));
}
