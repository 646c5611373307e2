/** A log that cannot be written stops nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { eventually } from './helpers/eventually.ts';
import { freePort } from './helpers/free-port.ts';

/** The server with its log in a place of its own; resolves when it answers. */
async function startLoggingTo(t: TestContext, stdout: number | 'pipe') {
  const PORT = await freePort();
  const METRICS_PORT = '0';
  // More errors than are allowed by default, because they make the longest lines.
  const env = { PORT, METRICS_PORT, ERRORS_PER_SECOND: '1000000' };
  const child = spawn(process.execPath, ['--import', './dist/instrument.js', './dist/server.js'], {
    env,
    stdio: ['ignore', stdout, 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const url = `http://127.0.0.1:${PORT}`;
  await eventually(async () => assert.equal((await fetch(`${url}/healthz`)).status, 200), 60);
  return { child, url };
}

/** Asks it to stop; resolves to its exit code, or to the signal that had to end it. */
async function stop(child: ReturnType<typeof spawn>) {
  const end = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  const [code, signal] = await end;
  clearTimeout(killer);
  return code ?? signal;
}

const unlessFull = { skip: !existsSync('/dev/full') && 'there is no /dev/full' };

test('on a full disk the application goes on without its log, and stops', unlessFull, async (t) => {
  const disk = openSync('/dev/full', 'w');
  t.after(() => closeSync(disk));
  const { child, url } = await startLoggingTo(t, disk);
  for (const [path, status] of [
    ['/', 200],
    ['/trigger-error/', 500],
    ['/my-view?seconds=0', 200],
  ] as const) {
    assert.equal((await fetch(url + path)).status, status, path);
  }
  assert.equal(await stop(child), 0);
});

/** Visits a page whose failure makes long lines: more of them than a pipe holds. */
async function fillPipe(url: string) {
  for (let count = 0; count < 300; count++) {
    assert.equal((await fetch(`${url}/trigger-error/other/?seconds=0`)).status, 500);
  }
}

test('when nobody reads the log the application goes on without it, and stops', async (t) => {
  const { child, url } = await startLoggingTo(t, 'pipe');
  await fillPipe(url);
  assert.equal(await stop(child), 0);
});

test('a log that is read again goes on with a line of its own', async (t) => {
  const { child, url } = await startLoggingTo(t, 'pipe');
  await fillPipe(url);
  assert.ok(child.stdout);
  const log = text(child.stdout);
  const isWhole = (line: string) => {
    try {
      return Object.hasOwn(JSON.parse(line), 'msg');
    } catch {
      return false;
    }
  };
  await eventually(() => assert.equal(child.stdout?.readableLength, 0));
  assert.equal((await fetch(url)).status, 200);
  assert.equal(await stop(child), 0);
  const lines = (await log).trim().split('\n');
  assert.ok(isWhole(lines.at(-1) ?? ''), 'it is written to again');
  assert.ok(lines.filter((line) => !isWhole(line)).length <= 1, 'the one that did not fit');
});
