/**
 * Takes the pictures in docs/pictures from the running stack, in a real browser: the guide in each
 * language, and an event in the tracker. Needs Chromium, and the stack:
 *
 *     docker compose up -d --build --wait && npm run screenshots
 *
 * APP_URL  the application  http://localhost:8000
 */
import assert from 'node:assert/strict';
import { mkdirSync, statSync } from 'node:fs';
import { chromium, type Page } from 'playwright-core';
import { executablePath, noBrowser } from '../test/helpers/browser.ts';
import { eventually } from '../test/helpers/eventually.ts';

const APP_URL = process.env.APP_URL || 'http://localhost:8000';
const FOLDER = 'docs/pictures';
/** Seconds that an event may take. */
const PATIENCE = 60;

function stop(problem: string): never {
  console.error(problem);
  process.exit(1);
}

async function save(page: Page, name: string): Promise<void> {
  const path = `${FOLDER}/${name}.png`;
  await page.screenshot({ path, animations: 'disabled', caret: 'hide' });
  console.log(`${path}  ${Math.round(statSync(path).size / 1024)} KB`);
}

/** The guide with a step at the top, in a browser of this language. */
async function takeGuide(page: Page, name: string): Promise<void> {
  // The tracker may not have the event yet.
  await eventually(async () => {
    await page.goto(APP_URL);
    assert.equal(await page.locator('.failed').count(), 0);
  });
  await page.goto(`${APP_URL}/#trigger-error`);
  await save(page, name);
}

/** The event's page in the tracker asks for the login that the guide shows. */
async function takeEvent(page: Page, link: string, login: string): Promise<void> {
  const [email = '', password = ''] = login.split(' / ');
  await page.goto(link);
  await page.locator('input[name=username]').fill(email);
  await page.locator('input[name=password]').fill(password);
  await page.getByRole('button', { name: 'Login' }).click();
  await eventually(async () => {
    const response = await page.goto(link);
    assert.ok(response?.ok(), `The event did not arrive: ${link} answers ${response?.status()}.`);
  }, PATIENCE);
  await save(page, 'event');
}

if (noBrowser) stop(`There is ${noBrowser}.`);
const ready = await fetch(`${APP_URL}/readyz`).catch(() => undefined);
if (!ready?.ok) {
  stop(`Nothing answers at ${APP_URL}. Run "docker compose up -d --build --wait", or set APP_URL.`);
}

mkdirSync(FOLDER, { recursive: true });
const browser = await chromium.launch({ executablePath: executablePath as string });
process.once('SIGINT', () => browser.close().finally(() => process.exit(130)));

const context = (locale: string) =>
  browser.newContext({ locale, viewport: { width: 1200, height: 860 }, colorScheme: 'light' });
const english = await (await context('en')).newPage();
const russian = await (await context('ru')).newPage();

for (const [page, name] of [
  [english, 'guide-en'],
  [russian, 'guide-ru'],
] as const) {
  await page.goto(`${APP_URL}/trigger-error/`);
  await takeGuide(page, name);
}
const step = english.locator('#trigger-error .result');
const link = (await step.getByRole('link').getAttribute('href')) as string;
const login = await step.locator('.note code').innerText();
await takeEvent(english, link, login);
await browser.close();
