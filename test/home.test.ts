import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
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
    JAEGER_URL: 'http://jaeger.example',
  });
  const response = await app.get('/');
  assert.equal(response.status, 200);
  const html = await response.text();
  for (const url of [
    '/trigger-error/?from=trigger-error',
    '/my-view?from=instrument',
    '/my-view?seconds=10&from=instrument',
    'http://tracker.example',
    'http://app.example:9464/metrics',
    'http://prometheus.example/targets',
    'http://prometheus.example/alerts',
    'http://prometheus.example/query?g0.expr=django_active_users&g0.tab=graph',
    'http://grafana.example',
    'http://alertmanager.example',
    'http://mail.example',
    'http://jaeger.example',
    'http://jaeger.example/search?service=fastify-sentry-prometheus&minDuration=500ms&lookback=1h&limit=20',
  ]) {
    assert.ok(links(html).includes(url), `${url} is not linked`);
  }
  assert.match(html, /<dt>Environment<\/dt><dd><code>staging<\/code>/);
  assert.match(html, /demo@example\.com \/ secret-login/);
});

test('what is not configured is not linked, and said to be off', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  assert.deepEqual(
    links(html).filter((url) => !/^[/#?]/.test(url) && url !== 'data:,'),
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
  const pages = ['/my-view?seconds=0', '/trigger-error/'].map(async (path) =>
    (await app.get(path)).text(),
  );
  for (const page of [html, ...(await Promise.all(pages))]) {
    for (const url of links(page).filter((url) => url.includes('#'))) {
      const id = url.split('#')[1];
      assert.ok(html.includes(`<article id="${id}"`), `there is no step ${url}`);
    }
  }
});

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' };
const MARKER = /^(?:\/\/ )?#(?:end)?region.*\n/gm;
const unindented = (code: string) => code.replaceAll(/^ +/gm, '');

test('the code of every step stands in its file, and every marked region is in a step', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  const steps = html.split('<article ').slice(1);
  assert.equal(steps.length, 12);
  const files: string[] = [];
  for (const step of steps) {
    const snippets = [
      ...step.matchAll(/<pre tabindex[^>]*aria-label="([^"]+)"><code>(.*?)<\/code>/gs),
    ];
    assert.ok(snippets.length > 0, step);
    for (const [, file = '', escaped = ''] of snippets) {
      const code = escaped.replaceAll(/&([^;]+);/g, (_, name) => ENTITIES[name] ?? '');
      assert.ok(code.trim().length > 0, file);
      const source = unindented(readFileSync(file, 'utf8'));
      assert.ok(source.replaceAll(MARKER, '').includes(unindented(code)), `${file}: ${code}`);
      files.push(file);
    }
  }
  for (const file of new Set(files)) {
    const markers = unindented(readFileSync(file, 'utf8')).match(MARKER) ?? [];
    assert.equal(markers.length / 2, files.filter((name) => name === file).length, file);
  }
});

test('the alert is quoted whole, with what its mail says', async (t) => {
  const app = await spawnApp(t);
  const [, step = ''] = (await (await app.get('/')).text()).split('<article id="alert"');
  assert.match(step.split('</article>')[0] ?? '', /annotations:.*summary:.*runbook_url:/s);
});

/** The number in the element of this id. */
const numberIn = (html: string, id: string) =>
  Number(new RegExp(`id="${id}">([^<]*)<`).exec(html)?.[1]);

test('the guide shows the counts as they are', async (t) => {
  const app = await spawnApp(t);
  const guide = async () => (await app.get('/')).text();
  assert.equal(numberIn(await guide(), 'visits'), 0);
  assert.equal(numberIn(await guide(), 'active-users'), 0);
  const visit = app.get('/my-view?seconds=1');
  await eventually(async () => assert.equal(numberIn(await guide(), 'active-users'), 1));
  await visit;
  await app.get('/my-view?seconds=0');
  await eventually(async () => assert.equal(numberIn(await guide(), 'active-users'), 0));
  assert.equal(numberIn(await guide(), 'visits'), 2);
});

/** Visits a page under a name that fetch() would not send; resolves to the page and its cookies. */
async function visitAs(url: string, path: string, headers: Record<string, string>) {
  const [response] = await once(get(url + path, { headers }), 'response');
  const html = String(Buffer.concat(await response.toArray()));
  const cookies: string[] = response.headers['set-cookie'] ?? [];
  return { html, cookies };
}

const EVENT = /tracker\.example\/issues\/event\/([0-9a-f-]{36})"/;

test("the guide links a visitor's last event, whichever replica it met", async (t) => {
  const sink = await startEnvelopeSink(t);
  const settings = {
    SENTRY_DSN: sink.dsn,
    SENTRY_EVENT_URL: 'http://tracker.example/issues/event/',
    COOKIE_SECRET: 'the same secret on all of the replicas',
  };
  const [one, other] = [await spawnApp(t, settings), await spawnApp(t, settings)];
  const host = 'localhost:8000';
  const eventOn = async (cookie: string) =>
    EVENT.exec((await visitAs(other.url, '/', { host, cookie })).html)?.[1];

  const error = await visitAs(one.url, '/trigger-error/', { host });
  const [setCookie = ''] = error.cookies;
  for (const attribute of ['event-8000=', 'HttpOnly', 'SameSite=Lax', 'Path=/']) {
    assert.ok(setCookie.includes(attribute), attribute);
  }
  const cookie = setCookie.split(';')[0] ?? '';
  assert.equal(await eventOn(cookie), EVENT.exec(error.html)?.[1]);
  assert.equal(await eventOn(''), undefined, 'somebody else has no event');
  assert.equal(await eventOn(cookie.replace(/=..../, '=0000')), undefined, 'a forged one');
  assert.deepEqual((await one.get('/no/such/page')).headers.getSetCookie(), []);
});

test('two stacks on one host keep their cookies apart: a browser sends both to both', async (t) => {
  const sink = await startEnvelopeSink(t);
  const settings = {
    SENTRY_DSN: sink.dsn,
    SENTRY_EVENT_URL: 'http://tracker.example/issues/event/',
  };
  const apps = [await spawnApp(t, settings), await spawnApp(t, settings)];
  const jar = new Map<string, string>();
  const visit = async (app: (typeof apps)[number], path: string) => {
    const cookie = [...jar].map((pair) => pair.join('=')).join('; ');
    const response = await app.get(path, { headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (line.split(';')[0] ?? '').split('=');
      jar.set(name, value);
    }
    return response.text();
  };
  const events = [];
  for (const app of apps) events.push(EVENT.exec(await visit(app, '/trigger-error/'))?.[1]);
  for (const [index, app] of apps.entries()) {
    assert.equal(EVENT.exec(await visit(app, '/'))?.[1], events[index]);
  }
});

test('a page leads back to the step that the visitor came from, and nowhere else', async (t) => {
  const app = await spawnApp(t);
  const backOn = async (path: string, headers = {}) => {
    const html = await (await app.get(path, { headers })).text();
    return /<a class="do" href="([^"]*)">Back to the guide/.exec(html)?.[1];
  };
  const guide = await (await app.get('/')).text();
  for (const step of guide.split('<article id="').slice(1)) {
    const id = step.split('"', 1)[0];
    for (const path of links(step).filter((url) => /^\/\w/.test(url))) {
      if (path.startsWith('/?')) continue;
      const quick = path.replace(/seconds=[\d.]+/, 'seconds=0');
      assert.equal(await backOn(quick), `/#${id}`, path);
    }
  }
  assert.equal(await backOn('/my-view?seconds=x&from=performance'), '/#performance');
  assert.equal(await backOn('/my-view?seconds=0'), '/#instrument');
  assert.equal(await backOn('/trigger-error/'), '/#trigger-error');
  assert.equal(await backOn('/no/such/page'), '/');
  for (const from of ['//evil.example', 'constructor', '"><script>', 'group&from=group', '']) {
    assert.equal(await backOn(`/my-view?seconds=0&from=${from}`), '/#instrument', from);
  }
});

test('a share is shown as it was set', async (t) => {
  const sink = await startEnvelopeSink(t);
  const settings = { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: '0.07' };
  const app = await spawnApp(t, settings);
  assert.match(await (await app.get('/')).text(), /<dd>7 %<\/dd>/);
});

test('the counts name the process that they are of, and Prometheus only where there is one', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  assert.ok(html.includes(`<code>${hostname()}</code>`));
  assert.doesNotMatch(html, /Prometheus has the numbers/);
});

test('every command can be copied whole', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  const blocks = [...html.matchAll(/<pre class="command"[^>]*><code>([^<]+)<\/code><\/pre>/g)];
  assert.ok(blocks.length >= 3);
  const prose = html.replaceAll(/<pre .*?<\/pre>/gs, '');
  assert.doesNotMatch(prose, /docker compose \S/, 'a command in the text breaks anywhere');
});

test('the stylesheet has another address when it is changed', async (t) => {
  const app = await spawnApp(t);
  const [, url = ''] =
    /<link rel="stylesheet" href="([^"]+)"/.exec(await (await app.get('/')).text()) ?? [];
  const css = readFileSync('views/style.css', 'utf8');
  const version = createHash('sha256').update(css).digest('hex').slice(0, 8);
  assert.equal(url, `/style.css?v=${version}`);
  assert.equal(await (await app.get(url)).text(), css);
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
