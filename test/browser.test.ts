/** The pages in Chromium: how they look, and a reader's way through the guide. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import axe, { type AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { launchBrowser, noBrowser } from './helpers/browser.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

const PAGES = [
  { path: '/', status: 200 },
  { path: '/?language=ru', status: 200 },
  { path: '/my-view?seconds=0', status: 200 },
  { path: '/my-view?seconds=x', status: 400 },
  { path: '/trigger-error/', status: 500 },
  { path: '/no/such/page', status: 404 },
];
const DEVICES = [
  { viewport: { width: 1280, height: 720 }, isMobile: false, colorScheme: 'light' },
  { viewport: { width: 1280, height: 720 }, isMobile: false, colorScheme: 'dark' },
  { viewport: { width: 320, height: 640 }, isMobile: true, colorScheme: 'light' },
] as const;

/** Every link, and the longest texts that the pages can have. */
const SETTINGS = {
  SENTRY_URL: 'http://localhost:9000',
  SENTRY_EVENT_URL: 'http://localhost:9000/issues/event/',
  SENTRY_LOGIN: 'demo@example.com:demo-password',
  PROMETHEUS_URL: 'http://localhost:9090',
  GRAFANA_URL: 'http://localhost:3000',
  ALERTMANAGER_URL: 'http://localhost:9093',
  MAILDEV_URL: 'http://localhost:1080',
  JAEGER_URL: 'http://localhost:16686',
};

/** Errors on the console, and files that are missing. */
function watch(page: Page) {
  const problems: string[] = [];
  page.on('requestfailed', (request) => problems.push(`failed: ${request.url()}`));
  page.on('console', (message) => {
    // Chromium reports the status of the page itself as an error.
    if (message.type() !== 'error' || message.location().url === page.url()) return;
    problems.push(`console: ${message.text()} ${message.location().url}`);
  });
  return problems;
}

async function accessibilityViolations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations }: AxeResults = await page.evaluate('axe.run()');
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join()}`);
}

async function boxOf(page: Page, selector: string) {
  const box = await page.locator(selector).first().boundingBox();
  assert.ok(box, selector);
  return box;
}

test('the pages in a browser', { skip: noBrowser }, async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn, ...SETTINGS });
  const browser = await launchBrowser(t);

  for (const device of DEVICES) {
    const { viewport, colorScheme } = device;
    await t.test(`they fit and are accessible: ${viewport.width}, ${colorScheme}`, async () => {
      const context = await browser.newContext(device);
      for (const { path, status } of PAGES) {
        const page = await context.newPage();
        const problems = watch(page);
        const response = await page.goto(app.url + path);
        assert.equal(response?.status(), status);
        assert.deepEqual(problems, [], path);
        const width = await page.evaluate('document.documentElement.scrollWidth');
        assert.equal(width, viewport.width, `${path} is no wider than the screen`);
        assert.deepEqual(await accessibilityViolations(page), [], path);
        await page.close();
      }
      await context.close();
    });
  }

  for (const locale of ['en-US', 'ru-RU']) {
    await t.test(`the guide starts with the first steps (${locale})`, async () => {
      const page = await browser.newPage({ viewport: { width: 1280, height: 720 }, locale });
      await page.goto(app.url);
      const button = await boxOf(page, '.do');
      assert.ok(button.y + button.height < 720, 'above the fold');
      await page.setViewportSize({ width: 390, height: 844 });
      const [site, language] = [await boxOf(page, 'header a'), await boxOf(page, 'header button')];
      assert.equal(Math.round(site.y), Math.round(language.y), 'a header of one line');
      await page.close();
    });
  }

  // Without JavaScript, as the pages promise.
  const context = await browser.newContext({ javaScriptEnabled: false, locale: 'en-US' });
  const page = await context.newPage();
  const click = (name: string) =>
    page
      .getByRole(/^(Русский|English)$/.test(name) ? 'button' : 'link', { name })
      .first()
      .click();

  await t.test('an error leads to its event, and back to the step with what happened', async () => {
    await page.goto(app.url);
    await page.locator('#trigger-error').getByRole('link', { name: 'Trigger the error' }).click();
    const eventId = await page.locator('#event-id').innerText();
    const event = `http://localhost:9000/issues/event/${eventId}`;
    assert.equal(await page.locator('#event-link').getAttribute('href'), event);
    await click('Back to the guide');
    assert.match(page.url(), /\/#trigger-error$/);
    const link = page.locator('#trigger-error').getByRole('link', { name: 'Open this event' });
    assert.equal(await link.getAttribute('href'), event);
  });

  await t.test('the language changes at the step where the reader is', async () => {
    await page.goto(`${app.url}/#alert`);
    await click('Русский');
    assert.equal(await page.locator('html').getAttribute('lang'), 'ru');
    assert.match(page.url(), /#alert$/);
    await page.goto(`${app.url}/my-view?seconds=0&from=performance`);
    await click('English');
    await click('Back to the guide');
    assert.match(page.url(), /#performance$/);
  });

  await t.test('on an error page it changes without another error', async () => {
    const errors = () =>
      app.metric('django_http_requests_total{method="GET",endpoint="/trigger-error/"}');
    await page.goto(`${app.url}/trigger-error/?from=group`);
    const before = await errors();
    await click('Русский');
    assert.equal(await page.locator('html').getAttribute('lang'), 'ru');
    assert.match(page.url(), /#group$/);
    assert.equal(await errors(), before);
    await click('English');
  });

  await t.test('a page held open in two tabs is two active users', async () => {
    await page.goto(app.url);
    for (let i = 0; i < 2; i++) await click('Hold it open');
    const activeUsers = page.locator('#active-users');
    await eventually(async () => {
      await click('Refresh the numbers');
      assert.equal(await activeUsers.innerText(), '2');
    });
    assert.match(page.url(), /#instrument$/, 'where the reader was');
  });
});
