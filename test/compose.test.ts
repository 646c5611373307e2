/** What docker-compose.yml promises about its services, read from the file: no engine is needed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';

interface Service {
  image: string;
  build?: string;
  pull_policy?: string;
  depends_on?: Record<string, { condition: string }>;
  environment?: Record<string, string>;
  networks?: string[];
  network_mode?: string;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test?: string | string[]; disable?: boolean };
  restart: string;
  read_only: boolean;
  cap_drop: string[];
  cap_add?: string[];
  privileged?: boolean;
  security_opt: string[];
  deploy: { resources: { limits: { memory: string; pids: number } } };
}
const file = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true });
const services: Record<string, Service> = file.services;

test('no two services build the same image, which can fail if they do so at once', () => {
  const built = Object.values(services).flatMap(({ build, image }) => (build ? [image] : []));
  assert.deepEqual(built, [...new Set(built)]);
  assert.equal(built.length, 1);
});

test('the image that is built here is never pulled from a registry', () => {
  for (const { image, pull_policy } of Object.values(services)) {
    if (!image.includes('/')) assert.equal(pull_policy, 'never', image);
  }
});

test("the default release is the application's name and version", () => {
  const { name, version } = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.equal(services.app?.environment?.SENTRY_RELEASE, `\${SENTRY_RELEASE:-${name}@${version}}`);
});

test('.env.example lists each setting of the stack with its default', () => {
  const compose = readFileSync('docker-compose.yml', 'utf8');
  const example = readFileSync('.env.example', 'utf8');
  const listed = new Map(
    [...example.matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name = '', value]) => [name, value]),
  );
  // "${NAME:-default}", and "NAME:" for settings that are only passed on.
  const used = compose.matchAll(/\$\{([A-Z_]+)(?::?-([^${}]*)\})?|^ +([A-Z_]{2,}):$/gm);
  for (const [, named, value, passed] of used) {
    const name = named ?? passed ?? '';
    assert.ok(listed.has(name), `${name} is listed`);
    if (value) assert.equal(listed.get(name), value, name);
  }
  const all = new Set([...compose.matchAll(/[A-Z_]{2,}/g)].map(([name]) => name));
  for (const name of listed.keys()) assert.ok(all.has(name), `${name} is used`);
});

for (const [name, service] of Object.entries(services)) {
  test(`${name} cannot write to its image, gain privileges, or use more than its limits`, () => {
    assert.equal(service.read_only, true);
    assert.deepEqual(service.cap_drop, ['ALL']);
    assert.deepEqual(service.security_opt, ['no-new-privileges:true']);
    assert.equal(service.cap_add, undefined);
    assert.equal(service.privileged, undefined);
    const { memory, pids } = service.deploy.resources.limits;
    assert.match(memory, /^\d+[mg]$/);
    assert.ok(pids > 0);
    for (const port of service.ports ?? []) assert.match(port, /^127\.0\.0\.1:/);
    for (const volume of service.volumes ?? []) {
      if (volume.startsWith('.')) assert.match(volume, /:ro(,|$)/, 'configuration is read-only');
    }
  });

  if (service.restart !== 'no') {
    test(`${name} is restarted, and has a health check`, () => {
      assert.equal(service.restart, 'unless-stopped');
      assert.ok(service.healthcheck?.test);
    });
  }
}

test('services bypass a proxy of the Docker client to reach each other', () => {
  for (const [name, { environment, network_mode }] of Object.entries(services)) {
    if (network_mode === 'none') continue;
    for (const variable of ['no_proxy', 'NO_PROXY']) {
      const names = environment?.[variable]?.split(/[,$]/) ?? [];
      const others = Object.keys(services).filter((other) => services[other]?.ports);
      for (const other of ['localhost', '127.0.0.1', ...others]) {
        assert.ok(names.includes(other), `${variable} of ${name} has ${other}`);
      }
    }
  }
});

test('a service can reach only the services it needs', () => {
  const reaches = (from: string, to: string) =>
    Boolean(services[from]?.networks?.some((name) => services[to]?.networks?.includes(name)));
  for (const [from, to, expected] of [
    ['app', 'bugsink', true],
    ['app', 'jaeger', true],
    ['traffic', 'app', true],
    ['prometheus', 'app', true],
    ['prometheus', 'alertmanager', true],
    ['grafana', 'prometheus', true],
    ['grafana', 'jaeger', true],
    ['bugsink', 'maildev', true],
    ['alertmanager', 'maildev', true],
    ['app', 'alertmanager', false],
    ['app', 'grafana', false],
    ['app', 'maildev', false],
    ['bugsink', 'grafana', false],
    ['grafana', 'app', false],
    ['maildev', 'app', false],
    ['maildev', 'prometheus', false],
    ['maildev', 'jaeger', false],
    ['bugsink-project', 'app', false],
  ] as const) {
    assert.equal(reaches(from, to), expected, `${from} to ${to}`);
  }
});
