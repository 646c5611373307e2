import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { type Browser, chromium } from 'playwright-core';

export const executablePath =
  process.env.CHROMIUM_PATH ||
  ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** For a test's option `skip`: why there is no browser, or false if there is one. */
export const noBrowser = executablePath
  ? false
  : 'no Chromium was found: install it, or set CHROMIUM_PATH';

/** Starts Chromium without a window. It is closed when the test ends. */
export async function launchBrowser(t: TestContext): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: executablePath as string });
  t.after(() => browser.close());
  return browser;
}
