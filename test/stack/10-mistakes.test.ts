/** What goes wrong around the stack is said where a reader looks. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { docker, startOwnStack } from './helpers/compose.ts';
import { targets } from './helpers/services.ts';

const { compose, urls, projectName } = await startOwnStack({
  name: 'mistakes',
  files: ['test/stack/fixtures/full-disk.yml'],
});

const health = async (service: string) =>
  JSON.parse(await compose('ps', '--format', 'json', service)).Health;

test('Prometheus is unhealthy while its disk is full, and healthy again afterwards', async () => {
  assert.equal(await health('prometheus'), 'healthy');
  const FILL = '/prometheus/fill';
  // It ends with an error when nothing more fits.
  await compose('exec', '-T', 'prometheus', 'dd', 'if=/dev/zero', `of=${FILL}`, 'bs=64k').catch(
    () => {},
  );
  await eventually(async () => assert.equal(await health('prometheus'), 'unhealthy'), 120);
  assert.match(await compose('logs', '--tail', '5', 'prometheus'), /no space left on device/);
  await compose('exec', '-T', 'prometheus', 'rm', FILL);
  await eventually(async () => assert.equal(await health('prometheus'), 'healthy'), 60);
});

test('an application on this machine is scraped once a file names it', async () => {
  const file = `prometheus/targets/${projectName}.yml`;
  after(() => rmSync(file, { force: true }));
  writeFileSync(
    file,
    '- targets: [host.docker.internal:65000]\n  labels: { job: my-service, stack: test }\n',
  );
  await eventually(async () => {
    const jobs = (await targets(urls.prometheus)).map(({ labels }) => labels.job);
    assert.ok(jobs.includes('my-service'));
  }, 60);
});

test('the image is the project’s own, so that two stacks run their own code', async () => {
  const id = await compose('ps', '--quiet', 'app');
  assert.equal(await docker(['inspect', '--format', '{{.Config.Image}}', id]), projectName);
});

test('a login that Bugsink does not have is said in the log of the service that looks', async () => {
  const login = ['--env', 'CREATE_SUPERUSER=demo@example.com:another-password'];
  const run = (...args: string[]) =>
    compose('run', '--rm', '--no-deps', '-T', ...args, 'bugsink-project');
  assert.doesNotMatch(await run(), /BUGSINK_LOGIN/);
  const log = await run(...login);
  assert.match(
    log,
    /BUGSINK_LOGIN is not the login of this Bugsink\. Its user is demo@example\.com/,
  );
  assert.doesNotMatch(log, /another-password/);
});

for (const [setting, value, line] of [
  ['PROJECT_KEY', 'xyz', "BUGSINK_PROJECT_KEY is 'xyz', but takes 32 hex digits."],
  ['CREATE_SUPERUSER', 'secret', 'BUGSINK_LOGIN has another form, but takes email:password'],
] as const) {
  test(`a wrong ${setting} of Bugsink is one line, and no traceback`, async () => {
    const run = compose(
      'run',
      '--rm',
      '--no-deps',
      '-T',
      '--env',
      `${setting}=${value}`,
      'bugsink-project',
    );
    await assert.rejects(run, (error: { stderr: string }) => {
      assert.ok(error.stderr.includes(line), error.stderr);
      assert.doesNotMatch(error.stderr, /Traceback|secret/);
      return true;
    });
  });
}
