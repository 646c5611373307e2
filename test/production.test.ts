import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

const page = readFileSync('docs/production.md', 'utf8');
const [override = '', alertmanager = ''] = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map(
  ([, yaml]) => yaml,
);

const unlessInstalled = (program: string, ...args: string[]) => ({
  skip: spawnSync(program, args).status !== 0 && `${program} ${args[0]} is not installed`,
});

function inFile(t: TestContext, content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'production-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'file.yml');
  writeFileSync(file, content);
  return file;
}

test(
  'with the file for production neither metrics nor the mailbox are published',
  unlessInstalled('docker', 'compose', 'version'),
  (t) => {
    const files = ['--file', 'docker-compose.yml', '--file', inFile(t, override)];
    const args = ['compose', '--env-file', '/dev/null', ...files, 'config', '--format', 'json'];
    const { stdout, stderr } = spawnSync('docker', args, {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, SMTP_PASSWORD: 'a password' },
      encoding: 'utf8',
    });
    assert.notEqual(stdout, '', stderr);
    const { services } = JSON.parse(stdout);
    assert.deepEqual(
      services.app.ports.map(({ host_ip, target }: { host_ip: string; target: number }) => [
        host_ip,
        target,
      ]),
      [['127.0.0.1', 8000]],
    );
    assert.ok(!('maildev' in services));
    assert.equal(services.bugsink.environment.EMAIL_HOST, 'smtp.example.com');
    for (const link of [
      'SENTRY_EVENT',
      'METRICS',
      'PROMETHEUS',
      'ALERTMANAGER',
      'GRAFANA',
      'MAILDEV',
      'JAEGER',
    ]) {
      assert.equal(services.app.environment[`${link}_URL`], '');
    }
  },
);

test(
  "Alertmanager's own tool finds nothing wrong with the receiver for production",
  unlessInstalled('amtool', '--version'),
  (t) => {
    const args = ['check-config', inFile(t, alertmanager)];
    const { status, stdout, stderr } = spawnSync('amtool', args, { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}\n${stderr}`);
  },
);
