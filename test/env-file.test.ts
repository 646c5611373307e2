/** What Compose makes of `.env`, and whether `.env.example` says so. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const unlessCompose = {
  skip:
    spawnSync('docker', ['compose', 'version']).status !== 0 && 'docker compose is not installed',
};

/** The environment of the service in the stack, with these lines in `.env`. */
function environmentOf(t: TestContext, service: string, lines: string) {
  const folder = mkdtempSync(join(tmpdir(), 'env-file-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, '.env');
  writeFileSync(file, lines);
  const { stdout, stderr } = spawnSync(
    'docker',
    ['compose', '--env-file', file, 'config', '--format', 'json'],
    { env: { PATH: process.env.PATH, HOME: process.env.HOME }, encoding: 'utf8' },
  );
  assert.notEqual(stdout, '', stderr);
  const { environment } = JSON.parse(stdout).services[service];
  // Compose writes "$$" for "$", so that its output can be its input.
  return (name: string) => environment[name].replaceAll('$$', '$');
}

const PASSWORD = `p$a:s #s"w{o}r\\d%`;

test('a password of any characters is taken as it is between single quotes', unlessCompose, (t) => {
  const login = environmentOf(t, 'bugsink', `BUGSINK_LOGIN='me@example.com:${PASSWORD}'\n`);
  assert.equal(login('CREATE_SUPERUSER'), `me@example.com:${PASSWORD}`);
  const quoted = environmentOf(t, 'bugsink', `BUGSINK_LOGIN='me@example.com:it\\'s'\r\n`);
  assert.equal(quoted('CREATE_SUPERUSER'), "me@example.com:it's", 'also in a file from Windows');
});

/** The form of a login, as bugsink/settings.py checks it. JavaScript reads it as Python does. */
function loginForm(): RegExp {
  const source = readFileSync('bugsink/settings.py', 'utf8');
  const [, form = ''] = /fullmatch\(r"(.*)", os\.environ\["CREATE_SUPERUSER"\]/.exec(source) ?? [];
  assert.notEqual(form, '');
  return new RegExp(`^(?:${form})$`);
}

test('Bugsink takes every password that .env.example teaches, and a login that has a form', () => {
  const example = readFileSync('.env.example', 'utf8');
  const [, taught = ''] = /PASSWORD='(.*)'\s+is "\1"/.exec(example) ?? [];
  const [, byDefault = ''] = /^#BUGSINK_LOGIN=(.*)$/m.exec(example) ?? [];
  const right = [taught, PASSWORD, "it's", ' '].map((password) => `me@example.com:${password}`);
  for (const login of [byDefault, ...right]) assert.match(login, loginForm());
  for (const login of ['', 'me', 'me@example.com', 'me@example.com:', ':secret', 'a b@c:secret']) {
    assert.doesNotMatch(login, loginForm());
  }
});

test('.env.example says what happens without them', unlessCompose, (t) => {
  const [header = ''] = readFileSync('.env.example', 'utf8').split('\n\n');
  const claims = [...header.matchAll(/^#\s+(\w+=.*?)\s{2,}(?:is|are) "(.*)"/gm)];
  assert.equal(claims.length, 4);
  for (const [, line = '', value = ''] of claims) {
    const read = environmentOf(t, 'app', `${line.replace(/^\w+/, 'COOKIE_SECRET')}\n`);
    assert.equal(read('COOKIE_SECRET'), value, line);
  }
});
