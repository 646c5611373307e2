import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

const LANGUAGES = ['en', 'ru'];

/** Every text of a language, by the path that leads to it in the file. */
function textsOf(language: string): Map<string, string> {
  const texts = new Map<string, string>();
  const collect = (value: object, path: string) => {
    for (const [key, inner] of Object.entries(value)) {
      if (typeof inner === 'string') texts.set(`${path}${key}`, inner);
      else collect(inner, `${path}${key}.`);
    }
  };
  collect(JSON.parse(readFileSync(`views/text/${language}.json`, 'utf8')), '');
  return texts;
}

test('the languages have the same texts, and no markup but code', () => {
  const [english = [], ...others] = LANGUAGES.map((language) => [...textsOf(language).keys()]);
  for (const keys of others) assert.deepEqual(keys, english);
  for (const [key, text] of LANGUAGES.flatMap((language) => [...textsOf(language)])) {
    assert.ok(text.trim() === text && text.length > 0, key);
    assert.doesNotMatch(text.replaceAll(/<code>[^<>]+<\/code>/g, ''), /[<>]/, key);
  }
});

test('every text is on a page of its language, and no page lacks one', async (t) => {
  const sink = await startEnvelopeSink(t);
  const url = 'http://service.example';
  const complete = await spawnApp(t, {
    SENTRY_DSN: sink.dsn,
    SENTRY_URL: url,
    SENTRY_EVENT_URL: `${url}/`,
    SENTRY_LOGIN: 'demo@example.com:demo-password',
    METRICS_URL: url,
    PROMETHEUS_URL: url,
    GRAFANA_URL: url,
    ALERTMANAGER_URL: url,
    MAILDEV_URL: url,
    JAEGER_URL: url,
    // The looks at the guide are traced, too, and would use up what the error's page needs.
    SENTRY_MAX_TRACES_PER_SECOND: '1000',
  });
  const bare = await spawnApp(t);
  const refused = await startTracker(t);
  await refused.fail(faults.status(403));
  const refusing = await spawnApp(t, { SENTRY_DSN: refused.dsn });
  const silent = await startTracker(t);
  await silent.fail(faults.never);
  const waiting = await spawnApp(t, { SENTRY_DSN: silent.dsn });
  const dropping = await spawnApp(
    t,
    { SENTRY_DSN: sink.dsn, DROP_EVENTS: 'yes' },
    'test/fixtures/failing-server.js',
  );

  for (const language of LANGUAGES) {
    const headers = { 'accept-language': language };
    /** The guide after an error, when it shows what became of the event. */
    const guideAfter = (error: Response, app: typeof complete, what: RegExp) => {
      const cookie = error.headers.getSetCookie()[0]?.split(';')[0] ?? '';
      return eventually(async () => {
        const guide = await app.get('/', { headers: { ...headers, cookie } });
        assert.match(await guide.clone().text(), what);
        return guide;
      });
    };
    const error = await complete.get('/trigger-error/', { headers });
    const refusal = await refusing.get('/trigger-error/', { headers });
    const responses = [
      await guideAfter(error, complete, /<p class="done">/),
      await guideAfter(refusal, refusing, /<code>http_error<\/code><\/dt>/),
      await guideAfter(
        await waiting.get('/trigger-error/', { headers }),
        waiting,
        /<code>[0-9a-f]{32}/,
      ),
      await refusing.get('/trigger-error/', { headers }),
      error,
      await complete.get('/my-view?seconds=0', { headers }),
      await complete.get('/my-view?seconds=x', { headers }),
      await complete.get('/no/such/page', { headers }),
      await complete.get('/', { headers }),
      await bare.get('/', { headers }),
      await dropping.get('/trigger-error/', { headers }),
      await bare.get('/trigger-error/', { headers }),
    ];
    const pages = await Promise.all(responses.map((response) => response.text()));
    for (const page of pages) {
      assert.ok(page.includes(`<html lang="${language}">`));
      assert.doesNotMatch(page, /undefined/, 'a text is missing');
    }
    for (const [key, text] of textsOf(language)) {
      assert.ok(
        pages.some((page) => page.includes(text)),
        `${key} is on no page`,
      );
    }
  }
});

test('a page is in the language that the browser prefers, and is stored nowhere', async (t) => {
  const app = await spawnApp(t);
  for (const [header, language] of [
    ['ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7', 'ru'],
    ['en-US,en;q=0.9,ru;q=0.8', 'en'],
    ['uk,ru;q=0.5', 'ru'],
    ['de', 'en'],
    ['ru;q=0', 'en'],
    ['*', 'en'],
    ['nonsense;;;,q', 'en'],
  ] as const) {
    for (const path of ['/', '/my-view?seconds=0', '/trigger-error/', '/no/such/page']) {
      const response = await app.get(path, { headers: { 'accept-language': header } });
      assert.ok((await response.text()).includes(`<html lang="${language}">`), `${header} ${path}`);
      assert.match(response.headers.get('vary') ?? '', /accept-language, cookie/);
      assert.equal(response.headers.get('cache-control'), 'no-store');
    }
  }
});

test('the switch is remembered in a cookie, and goes before the browser', async (t) => {
  const app = await spawnApp(t);
  const languageOf = async (path: string, headers = {}) => {
    const html = await (await app.get(path, { headers })).text();
    return /<html lang="(\w+)">/.exec(html)?.[1];
  };

  const english = await (await app.get('/')).text();
  const [, link = ''] = /<a href="([^"]+)" hreflang="ru"/.exec(english) ?? [];
  const chosen = await app.get(link);
  assert.equal(chosen.status, 200, 'a page, and no redirect to anywhere');
  assert.match(await chosen.text(), /<html lang="ru">/);
  const setCookie = chosen.headers.getSetCookie().find((cookie) => cookie.startsWith('language-'));
  for (const attribute of ['=ru;', 'HttpOnly', 'SameSite=Lax', 'Path=/']) {
    assert.ok(setCookie?.includes(attribute), attribute);
  }

  for (const path of [
    '/my-view?seconds=0&from=group',
    '/my-view?seconds=0&language=en',
    '/trigger-error/',
    '/no/such/page?a=%22%3Cb&c?d',
    '//evil.example/',
  ]) {
    const page = await (await app.get(path)).text();
    const [, link = ''] = /<a href="([^"]+)" hreflang="ru"/.exec(page) ?? [];
    const there = new URL(link.replaceAll('&amp;', '&'), app.url + path);
    const here = new URL(app.url + path);
    here.searchParams.set('language', 'ru');
    assert.equal(
      there.href.replaceAll('%3F', '?'),
      here.href.replaceAll('%3F', '?'),
      'the same page',
    );
  }

  const cookie = setCookie?.split(';')[0] ?? '';
  const headers = { cookie, 'accept-language': 'en' };
  for (const path of ['/', '/my-view?seconds=0', '/trigger-error/', '/no/such/page']) {
    assert.equal(await languageOf(path, headers), 'ru', path);
  }
  assert.equal(await languageOf('/?language=en', headers), 'en', 'and can be changed again');
});

test('a language that there is not is ignored, and not remembered', async (t) => {
  const app = await spawnApp(t);
  for (const choice of ['de', '', '__proto__', 'constructor', '../ru', 'ru&language=en']) {
    const response = await app.get(`/?language=${choice}`);
    assert.match(await response.text(), /<html lang="en">/, choice);
    const cookies = response.headers.getSetCookie();
    assert.ok(!cookies.some((cookie) => cookie.startsWith('language')), choice);
  }
  const { port } = new URL(app.url);
  for (const value of ['de', '__proto__', '%E0%A4%A', '"ru']) {
    const response = await app.get('/', { headers: { cookie: `language-${port}=${value}` } });
    assert.equal(response.status, 200, value);
    assert.match(await response.text(), /<html lang="en">/, value);
  }
});
