/** What the compose file promises of the containers, read back from those that run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { docker, type Stack, startStack } from './helpers/compose.ts';

interface Container {
  Name: string;
  Config: { User: string; Labels: Record<string, string> };
  HostConfig: {
    ReadonlyRootfs: boolean;
    CapDrop: string[] | null;
    CapAdd: string[] | null;
    SecurityOpt: string[] | null;
    Privileged: boolean;
    Memory: number;
    PidsLimit: number | null;
    PortBindings: Record<string, { HostIp: string }[]>;
  };
  Mounts: { Type: string; RW: boolean; Destination: string }[];
  State: { Running: boolean };
}

let compose: Stack['compose'];
let containers: (Container & { service: string })[];
before(async () => {
  ({ compose } = await startStack());
  const ids = (await compose('ps', '--all', '--quiet')).split('\n');
  containers = JSON.parse(await docker(['inspect', ...ids])).map((container: Container) => ({
    ...container,
    service: container.Config.Labels['com.docker.compose.service'],
  }));
});

test('no container can write to its image, gain privileges, or use a capability', () => {
  assert.ok(containers.length >= 8);
  for (const { service, HostConfig } of containers) {
    assert.equal(HostConfig.ReadonlyRootfs, true, service);
    assert.deepEqual(HostConfig.CapDrop, ['ALL'], service);
    assert.equal(HostConfig.CapAdd, null, service);
    assert.equal(HostConfig.Privileged, false, service);
    assert.ok(HostConfig.SecurityOpt?.includes('no-new-privileges:true'), service);
  }
});

test('every container has a limit of memory and of processes', () => {
  for (const { service, HostConfig } of containers) {
    assert.ok(HostConfig.Memory > 0, service);
    assert.ok((HostConfig.PidsLimit ?? 0) > 0, service);
  }
});

test('no process runs as root', async () => {
  for (const { service, Config, State } of containers) {
    assert.match(Config.User, /^(?!0|root)\w+/, service);
    if (!State.Running) continue;
    const users = (await compose('top', service)).split('\n').slice(2);
    for (const line of users) {
      // docker-init is started by the engine, and only passes on signals.
      if (!line.includes('docker-init')) assert.doesNotMatch(line, /\broot\b/, line);
    }
  }
});

test('the application reads its files also where the umask was strict when they were cloned', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'strict-umask-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const named = readFileSync('.dockerignore', 'utf8').matchAll(/^!(.+)$/gm);
  for (const [, file = ''] of [['', 'Dockerfile'], ['', '.dockerignore'], ...named]) {
    cpSync(file, join(folder, file), { recursive: true });
  }
  spawnSync('chmod', ['-R', 'go-rwx', folder]);

  const image = await docker(['build', '--quiet', '--target', 'sources', folder]);
  t.after(() => docker(['image', 'rm', image]));
  const find = ['--user', 'node', '--entrypoint', 'find', image, '/app', '!', '-readable'];
  assert.equal(await docker(['run', '--rm', ...find]), '');
  assert.match(await docker(['run', '--rm', ...find.slice(0, -2)]), /dashboard\.ts/);
});

test('configuration is mounted read-only', () => {
  for (const { service, Mounts } of containers) {
    for (const { Type, RW, Destination } of Mounts) {
      if (Type === 'bind') assert.equal(RW, false, `${service}: ${Destination}`);
    }
  }
});

test('every published port is bound to this machine only', () => {
  const bindings = containers.flatMap(({ HostConfig }) =>
    Object.values(HostConfig.PortBindings ?? {}).flat(),
  );
  assert.ok(bindings.length >= 8);
  for (const { HostIp } of bindings) assert.equal(HostIp, '127.0.0.1');
});

test('services reach those they talk to, and no others', async () => {
  const reaches = async (from: string, host: string, port: number) => {
    const script = `
      const socket = require('node:net').connect({ host: '${host}', port: ${port}, timeout: 3000 });
      socket.on('connect', () => process.exit(0)).on('error', () => process.exit(1)).on('timeout', () => process.exit(1));`;
    const python = `import socket; socket.create_connection(('${host}', ${port}), 3)`;
    const command = from === 'bugsink' ? ['python', '-c', python] : ['node', '-e', script];
    return compose('exec', '-T', from, ...command).then(
      () => true,
      () => false,
    );
  };
  assert.equal(await reaches('app', 'bugsink', 8000), true, 'app to bugsink');
  assert.equal(await reaches('app', 'jaeger', 4318), true, 'app to jaeger');
  assert.equal(await reaches('bugsink', 'maildev', 1025), true, 'bugsink to maildev');
  for (const [from, host, port] of [
    ['bugsink', 'prometheus', 9090],
    ['bugsink', 'alertmanager', 9093],
    ['bugsink', 'grafana', 3000],
    ['bugsink', 'jaeger', 16686],
    ['maildev', 'jaeger', 4318],
    ['app', 'maildev', 1025],
    ['app', 'alertmanager', 9093],
    ['app', 'grafana', 3000],
    ['maildev', 'app', 9464],
    ['maildev', 'prometheus', 9090],
  ] as const) {
    assert.equal(await reaches(from, host, port), false, `${from} to ${host}`);
  }
});
