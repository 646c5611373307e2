import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { spawnServer } from '../helpers/spawn-app.ts';

/** Starts the server, which is to end by itself. */
async function start(environment: Record<string, string>) {
  const server = spawnServer({ PORT: '0', METRICS_PORT: '0', ...environment });
  const [stdout, stderr, [code]] = await Promise.all([
    text(server.stdout),
    text(server.stderr),
    once(server, 'close'),
  ]);
  const log = stdout
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return { code, log, stderr, fatal: log.filter(({ level }) => level === 60) };
}

/** Any text is a login, or the path of a folder, so that there is no bad one. */
const FREE_TEXT = ['SENTRY_LOGIN', 'SENTRY_SPOOL_DIRECTORY'];
/** Here any text is right, but none is not. */
const NOT_EMPTY = ['HOST', 'OTEL_SERVICE_NAME'];

test('every variable that is bad has one line, and no port is opened', async () => {
  const names = Object.keys(readConfig({})).filter((name) => !FREE_TEXT.includes(name));
  const { code, log, stderr } = await start(
    Object.fromEntries(names.map((name) => [name, NOT_EMPTY.includes(name) ? '' : ' ,/'])),
  );
  assert.equal(code, 1);
  assert.deepEqual(log, [], 'nothing was started');
  const lines = stderr.trim().split('\n');
  assert.deepEqual(lines.map((line) => line.split(' ')[0]).sort(), names.sort());
});

for (const [what, host] of [
  ['a name that does not exist', 'no-such-host.invalid'],
  ["somebody else's address", '192.0.2.1'],
]) {
  test(`a HOST that is ${what} is refused by name`, async () => {
    const { code, fatal, log, stderr } = await start({ HOST: String(host) });
    assert.equal(code, 1);
    assert.equal(stderr, '');
    assert.equal(fatal.length, 1);
    assert.match(fatal[0].msg, new RegExp(`^PORT is 0 on ${host}, but .*\\bHOST\\b`));
    assert.ok(!log.some(({ msg }) => /listening/.test(msg)), 'no port was opened');
  });
}

for (const name of ['PORT', 'METRICS_PORT']) {
  test(`a ${name} in use is named, with the way to change it`, async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    t.after(() => other.close());
    const { port } = other.address() as AddressInfo;
    const { code, fatal } = await start({ [name]: String(port) });
    assert.equal(code, 1);
    assert.deepEqual(
      fatal.map(({ msg }) => msg),
      [`${name} is ${port} on 127.0.0.1, but that port is in use. Set ${name} to another.`],
    );
  });
}
