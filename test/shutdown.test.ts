import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventually } from './helpers/eventually.ts';
import { spawnApp } from './helpers/spawn-app.ts';

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains the requests, flushes Sentry and exits 0`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, { SENTRY_DSN: sink.dsn });
    const slow = app.get('/my-view?seconds=1');
    await eventually(async () => assert.equal(await app.metric('django_active_users'), 1));
    await app.get('/trigger-error/');

    assert.equal(await app.stop(signal), 0);
    assert.equal((await slow).status, 200, 'the request in flight was answered');
    assert.equal(sink.items('event').length, 1, 'the event arrived');
    assert.ok(
      sink.items('transaction').some(({ transaction }) => transaction === 'GET /my-view'),
      'the trace of the drained request arrived',
    );
  });
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`npm start ends with the application when npm gets ${signal}, as from a service manager`, async (t) => {
    const npm = spawn('npm', ['start'], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0', METRICS_PORT: '0' },
      // A group of its own, so that whatever is left of it can be ended.
      detached: true,
    });
    t.after(() => {
      try {
        process.kill(-(npm.pid ?? 0), 'SIGKILL');
      } catch {
        // Nothing is left.
      }
    });
    let output = '';
    npm.stdout.on('data', (chunk) => {
      output += chunk;
    });
    const url = await eventually(() => {
      const [, url] = /Server listening at (http[^"]+)/.exec(output) ?? [];
      assert.ok(url);
      return url;
    }, 60);
    npm.kill(signal);
    // Not the end of npm: what it started may outlive it.
    await eventually(() => assert.rejects(fetch(url)), 30);
    const [code] = npm.exitCode === null ? await once(npm, 'exit') : [npm.exitCode];
    assert.equal(code, 0);
    assert.match(output, /"msg":"stopping"/);
  });
}

test('a tracker that refuses connections delays neither pages nor the stop', async (t) => {
  // Port 9 (discard) has no listener.
  const app = await spawnApp(t, { SENTRY_DSN: 'http://0123456789abcdef@127.0.0.1:9/1' });
  assert.equal((await app.get('/trigger-error/')).status, 500);
  assert.equal((await app.get('/my-view')).status, 200);
  assert.equal(await app.stop(), 0);
});
