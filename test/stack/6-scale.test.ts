/** Several replicas of the application, and the end of a stack. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { docker, startOwnStack } from './helpers/compose.ts';
import { queryValue, targets } from './helpers/services.ts';

const REPLICAS = 3;

const stack = await startOwnStack({ name: 'scale', replicas: REPLICAS });
const { prometheus } = stack.urls;

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

  const open: Promise<Response>[] = [];
  for (let replica = 1; replica <= REPLICAS; replica++) {
    const address = await stack.compose('port', '--index', String(replica), 'app', '8000');
    for (let visit = 0; visit < replica; visit++) {
      open.push(fetch(`http://${address}/my-view?seconds=10`));
    }
  }
  const activeUsers = () => queryValue(prometheus, 'sum(django_active_users)');
  await eventually(async () => assert.equal(await activeUsers(), open.length), 10);
  for (const { status } of await Promise.all(open)) assert.equal(status, 200);
  await eventually(async () => assert.equal(await activeUsers(), 0), 30);
  await eventually(
    async () => assert.equal(await queryValue(prometheus, visits('sum')), before + open.length),
    30,
  );
});

test('the traffic service visits the application', async () => {
  const errors = 'sum(django_http_requests_total{endpoint="unmatched"})';
  const before = (await queryValue(prometheus, errors)) ?? 0;
  await stack.compose('up', '--detach', '--wait', '--no-deps', '--no-recreate', 'traffic');
  await eventually(
    async () => assert.ok(((await queryValue(prometheus, errors)) ?? 0) > before, 'new visits'),
    60,
  );
});

test('docker compose down --volumes leaves no container, volume or network', async () => {
  const label = `label=com.docker.compose.project=${stack.projectName}`;
  const remaining = async () => ({
    containers: await docker(['ps', '--all', '--quiet', '--filter', label]),
    volumes: await docker(['volume', 'ls', '--quiet', '--filter', label]),
    networks: await docker(['network', 'ls', '--quiet', '--filter', label]),
  });
  for (const [kind, names] of Object.entries(await remaining())) assert.ok(names, `no ${kind} yet`);
  await stack.compose('down', '--volumes');
  assert.deepEqual(await remaining(), { containers: '', volumes: '', networks: '' });
});
