import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const links = (html: string) =>
  [...html.matchAll(/href="([^"]+)"/g)].map(([, url]) => (url as string).replaceAll('&amp;', '&'));

test('the guide links every step to what does it and what shows it', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, {
    SENTRY_DSN: sink.dsn,
    SENTRY_ENVIRONMENT: 'staging',
    SENTRY_URL: 'http://tracker.example',
    SENTRY_LOGIN: 'demo@example.com:secret-login',
    METRICS_URL: 'http://app.example:9464/metrics',
    PROMETHEUS_URL: 'http://prometheus.example',
    GRAFANA_URL: 'http://grafana.example',
    ALERTMANAGER_URL: 'http://alertmanager.example',
    MAILDEV_URL: 'http://mail.example',
  });
  const response = await app.get('/');
  assert.equal(response.status, 200);
  const html = await response.text();
  for (const url of [
    '/trigger-error/',
    '/my-view',
    '/my-view?seconds=10',
    'http://tracker.example',
    'http://app.example:9464/metrics',
    'http://prometheus.example/targets',
    'http://prometheus.example/alerts',
    'http://prometheus.example/query?g0.expr=django_active_users&g0.tab=graph',
    'http://grafana.example',
    'http://alertmanager.example',
    'http://mail.example',
  ]) {
    assert.ok(links(html).includes(url), `${url} is not linked`);
  }
  assert.match(html, /environment <code>staging<\/code>/);
  assert.match(html, /demo@example\.com \/ secret-login/);
});

test('what is not configured is not linked, and said to be off', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  assert.deepEqual(
    links(html).filter((url) => !url.startsWith('/') && url !== 'data:,'),
    [],
  );
  assert.match(html, /off: errors are only logged/);
  assert.match(html, /no address set/);
});

test('every page of its own that the guide links to exists', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  for (const path of links(html).filter((url) => url.startsWith('/'))) {
    if (path.includes('seconds=10')) continue;
    const { status } = await app.get(path);
    assert.equal(status, path.startsWith('/trigger-error') ? 500 : 200, path);
  }
});

test('what a visitor typed comes back as text, never as markup', async (t) => {
  const app = await spawnApp(t);
  // Not fetch(), which would escape the path itself.
  const [response] = await once(
    get(`${app.url}`, { path: '/<script>alert(1)</script>' }),
    'response',
  );
  assert.equal(response.statusCode, 404);
  const html = String(Buffer.concat(await response.toArray()));
  assert.ok(html.includes('/&lt;script&gt;alert(1)&lt;/script&gt;'));
  assert.ok(!html.includes('<script>alert'));
});
