/** HAProxy in front of several replicas: they come and go, and no request is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { load, statuses, type Visit } from '../helpers/load.ts';
import { docker, startOwnStack } from './helpers/compose.ts';
import { queryValue, targets } from './helpers/services.ts';

const REPLICAS = 3;
const CONNECTIONS = 12;

const { urls, compose } = await startOwnStack({
  name: 'proxy',
  files: ['deploy/haproxy/docker-compose.yml'],
  replicas: REPLICAS,
  entrance: 'haproxy',
});
const { prometheus } = urls;
let sent = 0;

const up = (job: string) => queryValue(prometheus, `count(up{job="${job}"} == 1)`);
const serversUp = () => queryValue(prometheus, 'sum(haproxy_backend_active_servers{proxy="app"})');

/** Visits on several connections while something happens to the replicas, and a little longer. */
async function loadDuring(event: () => Promise<unknown>): Promise<Visit[]> {
  const visits: Visit[] = [];
  let isOver = false;
  const happens = event().finally(() => {
    isOver = true;
  });
  const url = `${urls.app}/my-view?seconds=0.02`;
  do {
    visits.push(...(await load(() => url, { connections: CONNECTIONS, requests: 200 })));
  } while (!isOver);
  await happens;
  sent += visits.length;
  return visits;
}

const containers = async () => (await compose('ps', '--quiet', 'app')).split('\n').sort();

test('Prometheus finds HAProxy, and both find every replica', async () => {
  await eventually(async () => {
    assert.equal(await up('haproxy'), 1);
    assert.equal(await up('app'), REPLICAS);
    assert.equal(await serversUp(), REPLICAS);
    for (const { labels, health, lastError } of await targets(prometheus)) {
      assert.equal(health, 'up', `${labels.job}: ${lastError}`);
    }
  }, 60);
});

test('the application is published by HAProxy alone, to this machine only', async () => {
  for (const id of await containers()) assert.equal(await docker(['port', id]), '');
  assert.equal(new URL(urls.app).hostname, '127.0.0.1');
});

test('the replicas share the visits', async () => {
  const visits = await loadDuring(async () => {});
  assert.deepEqual(statuses(visits), ['200']);
  const counters = 'django_http_requests_total{method="GET",endpoint="/my-view"}';
  await eventually(async () => {
    assert.equal(await queryValue(prometheus, `sum(${counters})`), sent);
    const least = (await queryValue(prometheus, `min(${counters})`)) ?? 0;
    assert.ok(least > 0, `one replica had none of ${sent} visits`);
  }, 30);
});

test('replicas that are replaced, one after the other, lose no request', async () => {
  const before = await containers();
  const visits = await loadDuring(async () => {
    for (const id of before) {
      await docker(['stop', id]);
      await docker(['rm', id]);
      await compose(
        'up',
        '--detach',
        '--no-deps',
        '--no-recreate',
        '--wait',
        '--scale',
        `app=${REPLICAS}`,
        'app',
      );
    }
  });
  console.log(`replaced under load: ${visits.length} requests, answers ${statuses(visits)}`);
  assert.deepEqual(statuses(visits), ['200']);
  const after = await containers();
  assert.equal(after.length, REPLICAS);
  for (const id of before) assert.ok(!after.includes(id), `${id} has been replaced`);
});

test('a replica that is killed costs no more than the requests in flight', async () => {
  const [victim = ''] = await containers();
  const visits = await loadDuring(() => docker(['kill', victim]));
  const lost = visits.filter(({ status }) => status !== 200);
  console.log(`killed under load: ${visits.length} requests, ${lost.length} lost`);
  assert.ok(lost.length <= CONNECTIONS, `${lost.length} lost: ${statuses(lost)}`);
});

test("HAProxy's own count outlives the replicas, and has every request", async () => {
  const requests = 'sum(haproxy_frontend_http_requests_total{proxy="pages"})';
  await eventually(async () => assert.equal(await queryValue(prometheus, requests), sent), 30);
});
