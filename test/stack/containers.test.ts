/** What can be seen of the containers only while they run. The rest is in test/compose.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { docker, SERVICES, startStack } from './helpers/compose.ts';

const { compose } = await startStack();

for (const service of SERVICES) {
  test(`no process of ${service} runs as root`, async () => {
    const id = await compose('ps', '--quiet', service);
    const user = await docker(['inspect', '--format', '{{.Config.User}}', id]);
    assert.match(user, /^(?!0|root)\w+/);
    const [, ...processes] = (await docker(['top', id, '-eo', 'pid,user,args'])).split('\n');
    assert.ok(processes.length > 0);
    for (const line of processes) assert.doesNotMatch(line, /^ *\d+ +root\b/);
  });
}

const runProject = (...args: string[]) =>
  compose('run', '--rm', '--no-deps', '-T', ...args, 'bugsink-project');

test('a login that Bugsink does not have is named in the log of bugsink-project', async () => {
  const log = await runProject('--env', 'CREATE_SUPERUSER=demo@example.com:another-password');
  assert.match(log, /BUGSINK_LOGIN is not the login of this Bugsink/);
  assert.doesNotMatch(log, /another-password/);
});

for (const [setting, value, line] of [
  ['PROJECT_KEY', 'xyz', "BUGSINK_PROJECT_KEY is 'xyz', but must be 32 hex digits."],
  ['CREATE_SUPERUSER', 'secret', 'BUGSINK_LOGIN must be email:password'],
] as const) {
  test(`a wrong ${setting} of Bugsink is one line that says what is expected`, async () => {
    await assert.rejects(
      runProject('--env', `${setting}=${value}`),
      ({ stderr }: { stderr: string }) => {
        assert.ok(stderr.includes(line), stderr);
        assert.doesNotMatch(stderr, /Traceback|secret/);
        return true;
      },
    );
  });
}
