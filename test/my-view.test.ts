import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const COUNTER = 'django_http_requests_total{method="GET",endpoint="/my-view"}';
const GAUGE = 'django_active_users';

test('n visits are counted n times, and render the view', async (t) => {
  const app = await spawnApp(t);
  assert.equal(await app.metric(COUNTER), 0, 'the series is there before the first visit');
  for (const path of ['/my-view?seconds=0', '/my-view/?seconds=0', '/my-view']) {
    const response = await app.get(path);
    assert.equal(response.status, 200);
    assert.match(await response.text(), /<h1>My view<\/h1>/);
  }
  assert.equal(await app.metric(COUNTER), 3);
  await eventually(async () => assert.equal(await app.metric(GAUGE), 0));
});

test('the gauge is up while visitors are served, and back at 0 after the last', async (t) => {
  const app = await spawnApp(t);
  const visits = [1, 2, 3].map(() => app.get('/my-view?seconds=1'));
  await eventually(async () => assert.equal(await app.metric(GAUGE), 3));
  await Promise.all(visits);
  await eventually(async () => assert.equal(await app.metric(GAUGE), 0));
});

test('the gauge returns to 0 when visitors leave, and the request is still counted', async (t) => {
  const app = await spawnApp(t);
  const visit = request(`${app.url}/my-view?seconds=10`);
  visit.on('error', () => {});
  visit.end();
  await eventually(async () => assert.equal(await app.metric(GAUGE), 1));
  visit.destroy();
  await eventually(async () => assert.equal(await app.metric(GAUGE), 0));
  assert.equal(await app.metric(COUNTER), 1);
  const aborted =
    'http_request_duration_seconds_count{method="GET",endpoint="/my-view",status_code="499"}';
  assert.equal(await app.metric(aborted), 1);
});

/** What JavaScript turns into a number that is none, or that never ends. */
const NOT_FINITE = ['1e400', '-1e400', 'Infinity', '-Infinity', 'NaN', '9'.repeat(400)];

test('the length of the work is bounded: anything else is a 400, and leaves the gauge at 0', async (t) => {
  const app = await spawnApp(t);
  for (const seconds of ['-1', '10.1', '1e9', 'long', '', ...NOT_FINITE]) {
    const response = await app.get(`/my-view?seconds=${seconds}`);
    assert.equal(response.status, 400, seconds);
    assert.match(await response.text(), /<dd>0 – 10<\/dd>/);
  }
  // Of several values none is the right one.
  assert.equal((await app.get('/my-view?seconds=1&seconds=1e400')).status, 400);
  assert.equal(app.stderr(), '', 'nothing for Node to warn of');
  await eventually(async () => assert.equal(await app.metric(GAUGE), 0));
});
