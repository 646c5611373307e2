/** Several replicas of the application, and the end of a stack. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { docker, startOwnStack } from './helpers/compose.ts';
import { queryValue, targets } from './helpers/services.ts';

const REPLICAS = 3;

const stack = await startOwnStack({
  name: 'scale',
  files: ['deploy/haproxy/docker-compose.yml'],
  replicas: REPLICAS,
  entrance: 'haproxy',
});
const { app, prometheus } = stack.urls;

test('Prometheus finds every replica', async () => {
  await eventually(async () => {
    const replicas = (await targets(prometheus)).filter(({ labels }) => labels.job === 'app');
    assert.equal(new Set(replicas.map(({ labels }) => labels.instance)).size, REPLICAS);
    for (const { health, lastError } of replicas) assert.equal(health, 'up', lastError);
  }, 60);
});

test('visits to all replicas add up, and so do their active users', async () => {
  const visits = (instance: string) =>
    `${instance}(django_http_requests_total{method="GET",endpoint="/my-view"})`;
  const before = await eventually(async () => {
    assert.equal(await queryValue(prometheus, visits('count')), REPLICAS);
    return (await queryValue(prometheus, visits('sum'))) ?? 0;
  }, 30);

  const open = Array.from({ length: 2 * REPLICAS }, () => fetch(`${app}/my-view?seconds=10`));
  const activeUsers = () => queryValue(prometheus, 'sum(django_active_users)');
  await eventually(async () => assert.equal(await activeUsers(), open.length), 10);
  for (const { status } of await Promise.all(open)) assert.equal(status, 200);
  await eventually(async () => assert.equal(await activeUsers(), 0), 30);
  await eventually(
    async () => assert.equal(await queryValue(prometheus, visits('sum')), before + open.length),
    30,
  );
});

test('the traffic comes through HAProxy, to all replicas', async () => {
  const numberOf = async (expression: string) => (await queryValue(prometheus, expression)) ?? 0;
  const arrived = () => numberOf('sum(django_http_requests_total{endpoint="/my-view"})');
  const passed = () => numberOf('sum(haproxy_frontend_http_requests_total{proxy="pages"})');
  const before = { arrived: await arrived(), passed: await passed() };
  await stack.compose('up', '--detach', '--wait', '--no-deps', '--scale', 'traffic=1', 'traffic');
  await eventually(async () => {
    const visits = (await arrived()) - before.arrived;
    assert.ok(visits > 30, 'new visits');
    assert.ok((await passed()) - before.passed >= visits, 'and none past HAProxy');
  }, 60);
});

test('the guide names the replica whose numbers it shows', async () => {
  const names = new Set<string | undefined>();
  await eventually(async () => {
    const html = await (await fetch(app)).text();
    names.add(/<p class="note">[^<]*<code>([0-9a-f]{12})<\/code>/.exec(html)?.[1]);
    assert.equal(names.size, REPLICAS);
  }, 30);
  const ids = (await stack.compose('ps', '--quiet', 'app')).split('\n');
  assert.deepEqual([...names].sort(), ids.map((id) => id.slice(0, 12)).sort());
});

test('docker compose down --volumes leaves no container, volume or network', async () => {
  const label = `label=com.docker.compose.project=${stack.projectName}`;
  const remaining = async () => ({
    containers: await docker(['ps', '--all', '--quiet', '--filter', label]),
    volumes: await docker(['volume', 'ls', '--quiet', '--filter', label]),
    networks: await docker(['network', 'ls', '--quiet', '--filter', label]),
  });
  for (const [kind, names] of Object.entries(await remaining())) assert.ok(names, `no ${kind} yet`);
  // The traffic is still running.
  await stack.compose('down', '--volumes');
  assert.deepEqual(await remaining(), { containers: '', volumes: '', networks: '' });
});
