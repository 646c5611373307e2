import assert from 'node:assert/strict';
import { test } from 'node:test';
import axe, { type AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { launchBrowser, noBrowser } from './helpers/browser.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const PAGES = [
  { name: 'the guide', path: '/', status: 200 },
  { name: 'the guide in Russian', path: '/?language=ru', status: 200 },
  { name: 'my-view', path: '/my-view?seconds=0', status: 200 },
  { name: 'a refused request', path: '/my-view?seconds=x', status: 400 },
  { name: 'the 500 page', path: '/trigger-error/', status: 500 },
  { name: 'the 404 page', path: '/no/such/page', status: 404 },
];
const SCREENS = [
  { name: 'desktop', viewport: { width: 1280, height: 800 }, isMobile: false },
  { name: 'phone', viewport: { width: 320, height: 640 }, isMobile: true },
];
const COLOR_SCHEMES = ['light', 'dark'] as const;

/** Every link and the longest texts that the pages can have: the stack's own settings. */
const SETTINGS = {
  SENTRY_URL: 'http://localhost:9000',
  SENTRY_EVENT_URL: 'http://localhost:9000/issues/event/',
  SENTRY_LOGIN: 'demo@example.com:demo-password',
  METRICS_URL: 'http://localhost:9464/metrics',
  PROMETHEUS_URL: 'http://localhost:9090',
  GRAFANA_URL: 'http://localhost:3000',
  ALERTMANAGER_URL: 'http://localhost:9093',
  MAILDEV_URL: 'http://localhost:1080',
  JAEGER_URL: 'http://localhost:16686',
};

/** What a visitor would stumble over: errors on the console, scripts that throw, missing files. */
function watch(page: Page) {
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(`thrown: ${error}`));
  page.on('requestfailed', (request) => problems.push(`failed: ${request.url()}`));
  page.on('console', (message) => {
    // Chromium reports the status of the page itself as an error; the tests expect it.
    if (message.type() !== 'error' || message.location().url === page.url()) return;
    problems.push(`console: ${message.text()} ${message.location().url}`);
  });
  return problems;
}

async function accessibilityViolations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations }: AxeResults = await page.evaluate('axe.run()');
  return violations.map(({ id, help, nodes }) => {
    const places = nodes.map(({ target }) => target.join(' ')).join(', ');
    return `${id} (${help}): ${places}`;
  });
}

test('the pages in a real browser', { skip: noBrowser }, async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, ...SETTINGS });
  const browser = await launchBrowser(t);

  for (const { name: screen, ...device } of SCREENS) {
    for (const colorScheme of COLOR_SCHEMES) {
      for (const { name, path, status } of PAGES) {
        await t.test(`${name} on a ${screen}, ${colorScheme}`, async () => {
          const page = await browser.newPage({ ...device, colorScheme });
          const problems = watch(page);
          const response = await page.goto(app.url + path);
          assert.equal(response?.status(), status);
          assert.deepEqual(problems, []);
          assert.equal(
            await page.evaluate('document.documentElement.scrollWidth'),
            device.viewport.width,
            'the page is no wider than the screen',
          );
          assert.deepEqual(await accessibilityViolations(page), []);
          await page.close();
        });
      }
    }
  }

  for (const locale of ['en-US', 'ru-RU']) {
    await t.test(
      `on a phone the guide begins with a header of one line, and its title (${locale})`,
      async () => {
        const page = await browser.newPage({ viewport: { width: 390, height: 844 }, locale });
        await page.goto(app.url);
        const boxOf = async (selector: string) => {
          const box = await page.locator(selector).first().boundingBox();
          assert.ok(box, selector);
          return box;
        };
        const [site, other] = [await boxOf('header a'), await boxOf('header a:last-child')];
        assert.equal(site.y, other.y);
        const [title, lead, contents] = [
          await boxOf('h1'),
          await boxOf('.lead'),
          await boxOf('nav'),
        ];
        assert.ok(title.y < lead.y && lead.y < contents.y);
        await page.close();
      },
    );
  }

  await t.test('on a desktop a line of 100 characters of code fits', async () => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(app.url);
    const blocks = await page.locator('pre').evaluateAll((blocks) =>
      blocks.map(({ textContent, scrollWidth, clientWidth }) => ({
        longest: Math.max(...(textContent ?? '').split('\n').map((line: string) => line.length)),
        fits: scrollWidth <= clientWidth,
      })),
    );
    assert.ok(blocks.some(({ longest }) => longest > 90));
    for (const { longest, fits } of blocks) assert.equal(fits || longest > 100, true, `${longest}`);
    await page.close();
  });

  await t.test('my-view held open is one active user, and none when it is there', async () => {
    const page = await browser.newPage();
    const activeUsers = () => app.metric('django_active_users');
    const visit = page.goto(`${app.url}/my-view?seconds=2`);
    await eventually(async () => assert.equal(await activeUsers(), 1));
    await visit;
    await page.getByRole('heading', { name: 'My view' }).waitFor();
    await eventually(async () => assert.equal(await activeUsers(), 0));
    await page.close();
  });

  await t.test('one click selects a whole command', async () => {
    const page = await browser.newPage();
    await page.goto(app.url);
    const command = page.locator('.command code').first();
    await command.click();
    const selected = await page.evaluate('getSelection().toString()');
    assert.equal(selected, await command.innerText());
    await page.close();
  });

  await t.test(
    'the buttons of the guide and the way back to what happened, without JavaScript',
    async () => {
      const context = await browser.newContext({ javaScriptEnabled: false, locale: 'ru-RU' });
      const page = await context.newPage();
      await page.goto(app.url);
      await page.getByRole('link', { name: 'English' }).click();
      await page.getByRole('link', { name: 'Trigger the error' }).click();
      const eventId = await page.locator('#event-id').innerText();
      const link = await page.locator('#event-link').getAttribute('href');
      assert.equal(link?.replaceAll('-', ''), `http://localhost:9000/issues/event/${eventId}`);
      await page.getByRole('link', { name: 'Back to the guide' }).click();
      const step = page.locator('#trigger-error');
      await step.getByText(eventId).waitFor();
      assert.equal(
        await step.getByRole('link', { name: 'Open this event' }).getAttribute('href'),
        link,
      );

      const visits = async () => Number(await page.locator('#visits').innerText());
      const before = await visits();
      await page.getByRole('link', { name: 'Visit the page', exact: true }).click();
      await page.getByRole('link', { name: 'Back to the guide' }).click();
      assert.equal(await visits(), before + 1);

      await page.getByRole('link', { name: 'A page that takes a second' }).click();
      await page.getByRole('link', { name: 'Русский' }).click();
      await page.getByRole('link', { name: 'Вернуться в руководство' }).click();
      assert.match(page.url(), /#performance$/, 'the step that the reader came from');
      await page.getByRole('link', { name: 'English' }).click();

      const hold = page.getByRole('link', { name: 'Hold it open' });
      assert.equal(await hold.getAttribute('target'), '_blank');
      const visit = app.get('/my-view?seconds=3');
      await eventually(async () => {
        await page.getByRole('link', { name: 'Refresh the numbers' }).click();
        assert.equal(await page.locator('#active-users').innerText(), '1');
      });
      await visit;
      assert.match(page.url(), /#instrument$/, 'where the reader was');
      await context.close();
    },
  );
});
