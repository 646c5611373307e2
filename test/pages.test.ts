/** The guide and the article's page: what they show, count and remember. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp, spawnServer } from './helpers/spawn-app.ts';

const COUNTER = 'django_http_requests_total{method="GET",endpoint="/my-view"}';
const GAUGE = 'django_active_users';

/** The settings in Docker, with a sink for a tracker. */
const stack = (dsn: string) => ({
  SENTRY_DSN: dsn,
  SENTRY_ENVIRONMENT: 'staging',
  SENTRY_TRACES_SAMPLE_RATE: '0.07',
  SENTRY_URL: 'http://tracker.example',
  SENTRY_EVENT_URL: 'http://tracker.example/issues/event/',
  SENTRY_LOGIN: 'demo@example.com:secret-login',
  PROMETHEUS_URL: 'http://prometheus.example/',
  GRAFANA_URL: 'http://grafana.example',
  ALERTMANAGER_URL: 'http://alertmanager.example',
  MAILDEV_URL: 'http://mail.example',
  JAEGER_URL: 'http://jaeger.example',
});

const unescapeHtml = (html: string) =>
  ['&lt;<', '&gt;>', '&quot;"', "&#x27;'", "&#39;'", '&amp;&'].reduce(
    (text, entity) => text.replaceAll(entity.slice(0, -1), entity.slice(-1)),
    html,
  );
const linksOn = (html: string) =>
  [...html.matchAll(/href="([^"]+)"/g)].map(([, url = '']) => unescapeHtml(url));
/** The steps of the guide by their ids. */
const stepsOf = (html: string) =>
  new Map(
    [...html.matchAll(/<article id="([^"]+)"(.*?)<\/article>/gs)].map(([, id, step = '']) => [
      id,
      step,
    ]),
  );
const languageOf = (html: string) => /<html lang="(\w+)">/.exec(html)?.[1];

test('my-view counts every visit, and the gauge is up while it is served', async (t) => {
  const app = await spawnApp(t);
  const gaugeIs = (value: number) =>
    eventually(async () => assert.equal(await app.metric(GAUGE), value), 5);
  assert.equal(await app.metric(COUNTER), 0, 'the series exists before the first visit');

  const visits = ['/my-view', '/my-view/', '/my-view'].map((path) => app.get(`${path}?seconds=1`));
  await gaugeIs(3);
  for (const response of await Promise.all(visits)) {
    assert.equal(response.status, 200);
    assert.match(await response.text(), /<h1>My view<\/h1>/);
  }
  await gaugeIs(0);

  const leaving = get(`${app.url}/my-view?seconds=10`).on('error', () => {});
  await gaugeIs(1);
  leaving.destroy();
  await gaugeIs(0);
  assert.equal(await app.metric(COUNTER), 4);
});

test('my-view works for 0 to 10 seconds: anything else is a 400 and no active user', async (t) => {
  const app = await spawnApp(t);
  for (const seconds of ['-1', '10.1', '1e400', 'Infinity', 'NaN', 'x', '', '1&seconds=2']) {
    assert.equal((await app.get(`/my-view?seconds=${seconds}`)).status, 400, seconds);
  }
  assert.equal(await app.metric(GAUGE), 0);
});

test('the guide of the stack shows every step in both languages, with its tools and commands', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, stack(sink.dsn));
  for (const language of ['en', 'ru']) {
    const response = await app.get('/', { headers: { 'accept-language': language } });
    const html = await response.text();
    assert.equal(languageOf(html), language);
    assert.doesNotMatch(html, /undefined/);
    assert.equal(stepsOf(html).size, 12);
    for (const url of [
      'http://tracker.example',
      'http://localhost:0/metrics',
      'http://prometheus.example/targets',
      'http://prometheus.example/alerts',
      'http://prometheus.example/query?g0.expr=django_active_users&g0.tab=graph',
      'http://grafana.example',
      'http://alertmanager.example',
      'http://mail.example',
      'http://jaeger.example/search?service=fastify-sentry-prometheus&minDuration=500ms&lookback=1h&limit=20',
    ]) {
      assert.ok(linksOn(html).includes(url), `${url} is not linked`);
    }
    assert.match(html, /<code>staging<\/code>/);
    assert.match(html, /<dd>7\s?%<\/dd>/);
    assert.match(html, /demo@example\.com \/ secret-login/);
    assert.match(html, /<code>docker compose up/);
    assert.doesNotMatch(html, /<code>npm run traffic/);
  }
});

test('without the stack the guide links no tools, and has the commands of npm', async (t) => {
  const app = await spawnApp(t);
  const html = await (await app.get('/')).text();
  const elsewhere = linksOn(html).filter((url) => !/^[/#]/.test(url) && url !== 'data:,');
  assert.deepEqual(elsewhere, ['http://localhost:0/metrics']);
  assert.match(html, /Sentry is off/);
  assert.match(html, /<code>npm run traffic -- --url=http:\/\/localhost:\d+ --errors=0\.5<\/code>/);
  assert.doesNotMatch(html, /<code>docker compose/);
});

test('every link of a step to a page of this application works, and leads back to the step', async (t) => {
  const app = await spawnApp(t);
  const steps = stepsOf(await (await app.get('/')).text());
  for (const [id, step] of steps) {
    for (const path of linksOn(step).filter((url) => /^\/\w/.test(url))) {
      const response = await app.get(path, { redirect: 'manual' });
      if (response.status === 302) {
        assert.match(response.headers.get('location') ?? '', RegExp(`[?&]from=${id}(&|$)`));
        continue;
      }
      assert.equal(response.status, path.startsWith('/trigger-error') ? 500 : 200, path);
      assert.ok(linksOn(await response.text()).includes(`/#${id}`), path);
    }
  }
  for (const from of ['//evil.example', '"><script>', 'group&from=group']) {
    const html = await (await app.get(`/my-view?seconds=0&from=${from}`)).text();
    assert.ok(linksOn(html).includes('/#instrument'), from);
  }
});

test('each click on "Hold it open" gets its own URL, so that no browser queues it', async (t) => {
  const app = await spawnApp(t);
  const locations = [1, 2].map(async () =>
    (await app.get('/hold', { redirect: 'manual' })).headers.get('location'),
  );
  const [one, other] = await Promise.all(locations);
  assert.match(String(one), /^\/my-view\?seconds=10&/);
  assert.notEqual(one, other);
});

const MARK = /^ *(?:\/\/ )?#(?:end)?region.*\n/gm;
const normalize = (code: string) => code.replaceAll(MARK, '').replaceAll(/^ +/gm, '').trim();

test('the code of every step is in its file, and step 1 shows all of instrument.ts', async (t) => {
  const app = await spawnApp(t);
  const steps = stepsOf(await (await app.get('/')).text());
  const snippetsOf = (step: string) =>
    [...step.matchAll(/<pre tabindex="0"[^>]*aria-label="(\S+)"><code>(.*?)<\/code>/gs)].map(
      ([, file = '', html = '']) => ({
        file,
        code: unescapeHtml(html.replaceAll(/<\/?span[^>]*>/g, '')),
      }),
    );
  for (const [id, step] of steps) {
    assert.ok(snippetsOf(step).length > 0, id);
    for (const { file, code } of snippetsOf(step)) {
      assert.ok(
        normalize(readFileSync(file, 'utf8')).includes(normalize(code)),
        `${file}: ${code}`,
      );
      assert.match(step, /<span class="hljs-/, 'highlighted');
    }
  }
  const [first] = snippetsOf(steps.get('set-up-sentry') ?? '');
  assert.equal(normalize(first?.code ?? ''), normalize(readFileSync('src/instrument.ts', 'utf8')));
});

test('the guide shows the counts of this process as they are', async (t) => {
  const app = await spawnApp(t);
  const counts = async () => {
    const html = await (await app.get('/')).text();
    return ['visits', 'active-users'].map((id) =>
      Number(RegExp(`id="${id}">(\\d+)<`).exec(html)?.[1]),
    );
  };
  assert.deepEqual(await counts(), [0, 0]);
  const visit = app.get('/my-view?seconds=1');
  await eventually(async () => assert.deepEqual(await counts(), [1, 1]));
  await visit;
  await eventually(async () => assert.deepEqual(await counts(), [1, 0]));
});

test('a page is in the language that the visitor chose, or else that the browser prefers', async (t) => {
  const app = await spawnApp(t);
  const visit = async (path: string, headers: Record<string, string>) => {
    const response = await app.get(path, { headers });
    return { language: languageOf(await response.text()), cookie: response.headers.getSetCookie() };
  };
  const chosen = await visit('/?language=ru', {});
  const cookie =
    chosen.cookie.find((cookie) => cookie.startsWith('language-'))?.split(';')[0] ?? '';
  const name = cookie.split('=')[0];
  for (const path of ['/', '/my-view?seconds=0', '/trigger-error/', '/no/such/page']) {
    for (const [header, cookies, language] of [
      ['ru-RU,ru;q=0.9,en;q=0.7', '', 'ru'],
      ['en-US,en;q=0.9,ru;q=0.8', '', 'en'],
      ['uk,ru;q=0.5', '', 'ru'],
      ['de', '', 'en'],
      ['nonsense;;;,q', '', 'en'],
      ['en', cookie, 'ru'],
      ['ru', `${name}=__proto__`, 'ru'],
    ] as const) {
      const visited = await visit(path, { 'accept-language': header, cookie: cookies });
      assert.equal(visited.language, language, `${header} ${cookies} ${path}`);
    }
  }
  assert.equal((await visit('/?language=en', { cookie })).language, 'en', 'and can change it');
  const unknown = await visit('/?language=de', {});
  assert.ok(!unknown.cookie.some((cookie) => cookie.startsWith('language-')));
});

test("the visitor's id and last event are remembered in cookies, as UUIDs and nothing else", async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, stack(sink.dsn));
  const [visitor = ''] = (await app.get('/')).headers.getSetCookie();
  const { port } = new URL(app.url);
  assert.match(visitor, RegExp(`^visitor-${port}=[0-9a-f-]{36};.* HttpOnly; SameSite=Lax`));
  const cookie = visitor.split(';')[0] ?? '';

  const error = await app.get('/trigger-error/', { headers: { cookie } });
  const [event = ''] = error.headers.getSetCookie();
  const eventId = /^event-\d+=([0-9a-f-]{36});/.exec(event)?.[1];
  await app.get('/trigger-error/', { headers: { cookie: `visitor-${port}=somebody@example.com` } });
  const users = await eventually(() => {
    const users = sink.items('event').map(({ user }) => user?.id);
    assert.equal(users.length, 2);
    return users;
  });
  assert.deepEqual(
    users.filter(Boolean),
    [cookie.split('=')[1]],
    'a forged cookie identifies nobody',
  );

  const lastEvent = async (cookie: string) => {
    const html = await (await app.get('/', { headers: { cookie } })).text();
    return /tracker\.example\/issues\/event\/([^"]*)"/.exec(html)?.[1];
  };
  assert.equal(await lastEvent(event.split(';')[0] ?? ''), eventId);
  assert.equal(await lastEvent(''), undefined);
  assert.equal(await lastEvent(`event-${port}=../../settings`), undefined);
});

test('the guide says that events were lost, and why', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, stack(sink.dsn), 'test/fixtures/crashing-server.js');
  assert.match(await (await app.get('/')).text(), /<p class="done">Sentry is on/);
  await app.get('/lose');
  const html = await (await app.get('/')).text();
  assert.match(html, /<p class="failed">.*<dt><code>http_error<\/code><\/dt><dd>2<\/dd>/s);
  assert.doesNotMatch(html, /<p class="done">Sentry is on/);
});

test('a missing text in a language prevents the start', { timeout: 30_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'texts-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const name of readdirSync('.')) {
    if (!['dist', 'views'].includes(name)) symlinkSync(resolve(name), join(folder, name));
    else cpSync(name, join(folder, name), { recursive: true });
  }
  const file = join(folder, 'views/text/ru.json');
  const texts = JSON.parse(readFileSync(file, 'utf8'));
  delete texts.guide.title;
  writeFileSync(file, JSON.stringify(texts));

  const server = spawnServer({ PORT: '0', METRICS_PORT: '0' }, join(folder, 'dist/server.js'));
  t.after(() => server.kill('SIGKILL'));
  const [output, [code]] = await Promise.all([text(server.stdout), once(server, 'close')]);
  assert.equal(code, 1);
  assert.match(output, /views\/text\/ru\.json lacks guide\.title/);
});
