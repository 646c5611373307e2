/**
 * The stack in a swarm of several engines on this machine, under load: the application is updated,
 * then updated to a version that does not start, and a node is killed. Everything is removed at the
 * end, even after Ctrl-C.
 *
 * SWARM_NODES  how many engines, this machine's own included   3
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/free-port.ts';
import { type Json, queryValue } from '../stack/helpers/services.ts';
import {
  MANAGER_ADDRESS,
  makeNetwork,
  noEngines,
  removeNodes,
  startNode,
} from './helpers/engines.ts';
import { startVisitors, type Visit, wasAnswered } from './helpers/visitors.ts';

const NODES = Number(process.env.SWARM_NODES || 3);
/**
 * Visits per second: what Bugsink on a small machine can handle if a twelfth of them are errors.
 */
const RATE = 48;
// A name of its own for each run: engines may remember networks of a swarm that they have left.
const STACK = `monitoring-test-${process.pid}`;
const IMAGE = 'monitoring-test-swarm';

const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
const lines = (output: string): string[] => output.split('\n').filter(Boolean);
const pause = (milliseconds: number) =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;

/** What is left of the stack on this machine's own engine. */
function leftovers(...kinds: string[]): [kind: string, id: string][] {
  const label = `label=com.docker.stack.namespace=${STACK}`;
  return kinds.flatMap((kind) => {
    const all = kind === 'container' ? ['--all'] : [];
    return lines(docker(kind, 'ls', ...all, '--quiet', '--filter', label)).map(
      (id): [string, string] => [kind, id],
    );
  });
}

/** The test would leave a swarm that this machine is in. */
function swarmInUse(): string | undefined {
  const state = docker('info', '--format', '{{.Swarm.LocalNodeState}}');
  return state === 'inactive' ? undefined : `the Docker engine is in a swarm already (${state})`;
}

const reason = noEngines() ?? swarmInUse();

test(`a swarm of ${NODES} nodes`, { skip: reason ?? false }, async (t) => {
  const had = docker('network', 'ls', '--quiet', '--filter', 'name=docker_gwbridge');
  let isClean = false;
  const clean = () => {
    if (isClean) return;
    isClean = true;
    console.log('cleaning up');
    spawnSync('docker', ['stack', 'rm', STACK]);
    // Networks go after their containers, and only while there is a swarm.
    const rest = () => leftovers('container', 'network');
    for (let attempt = 0; attempt < 60 && rest().length > 0; attempt++) pause(500);
    spawnSync('docker', ['swarm', 'leave', '--force']);
    removeNodes();
    for (const [kind, id] of rest()) spawnSync('docker', [kind, 'rm', '--force', id]);
    for (const [kind, id] of leftovers('volume')) spawnSync('docker', [kind, 'rm', id]);
    if (!had) spawnSync('docker', ['network', 'rm', 'docker_gwbridge']);
    spawnSync('docker', ['image', 'rm', `${IMAGE}:1`, `${IMAGE}:2`]);
  };
  after(clean);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      clean();
      process.exit(130);
    });
  }

  console.log('docker build');
  // Two names stand for two versions.
  const images = [`${IMAGE}:1`, `${IMAGE}:2`];
  execFileSync('docker', ['build', '--quiet', ...images.flatMap((tag) => ['--tag', tag]), '.'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });

  console.log(`starting ${NODES - 1} further engines`);
  makeNetwork();
  const listen = `${MANAGER_ADDRESS}:2377`;
  // Different subnets in each run, for the same reason as the stack's name.
  const pool = `10.${100 + (process.pid % 100)}.0.0/16`;
  docker(
    ...['swarm', 'init', '--advertise-addr', MANAGER_ADDRESS, '--listen-addr', listen],
    ...['--default-addr-pool', pool],
  );
  const manager = docker('info', '--format', '{{.Swarm.NodeID}}');
  docker('node', 'update', '--label-add', 'monitoring=true', manager);
  const token = docker('swarm', 'join-token', '--quiet', 'worker');
  const nodes = Array.from({ length: NODES - 1 }, (_, index) => {
    const node = startNode(index + 2);
    const load = `docker save ${images.join(' ')} | docker --host unix://${node.socket} load --quiet`;
    execFileSync('sh', ['-c', load], { stdio: ['ignore', 'ignore', 'inherit'] });
    node.docker('swarm', 'join', '--token', token, '--advertise-addr', node.address, listen);
    return node;
  });

  const port = await freePort();
  const urlOf = (address: string) => `http://${address}:${port}`;
  const deploy = (settings: Record<string, string>) =>
    execFileSync('deploy/swarm/deploy', ['--resolve-image', 'never', '--detach'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        // There may be settings in .env that the test does not expect.
        COMPOSE_ENV_FILES: '/dev/null',
        STACK,
        APP_PORT: port,
        ...settings,
      },
    });
  console.log('deploy/swarm/deploy');
  deploy({ APP_IMAGE: `${IMAGE}:1` });

  /** The tasks of the application that run and are meant to. */
  const tasks = (): Json[] => {
    const wanted = ['--filter', 'desired-state=running', '--quiet'];
    const ids = lines(docker('service', 'ps', `${STACK}_app`, ...wanted));
    const all: Json[] = JSON.parse(docker('inspect', ...ids));
    return all.filter(({ Status }) => Status.State === 'running');
  };

  await t.test('all services are there, and a replica on each node', async () => {
    await eventually(() => {
      const services = lines(docker('stack', 'services', STACK, '--format', 'json'));
      for (const { Name, Replicas } of services.map((line): Json => JSON.parse(line))) {
        const [, running, wanted] = /^(\d+)\/(\d+)/.exec(Replicas) ?? [];
        const isDone = /\(1\/1 completed\)/.test(Replicas);
        assert.ok(isDone || (running === wanted && running !== '0'), `${Name}: ${Replicas}`);
      }
    }, 180);
    assert.equal(new Set(tasks().map(({ NodeID }) => NodeID)).size, NODES);
  });

  const prometheus = `http://${addressInside('prometheus')}:9090`;
  const areUp = async (replicas: number) =>
    assert.equal(await queryValue(prometheus, 'count(up{job="app"} == 1)'), replicas);
  await t.test('Prometheus finds every replica by DNS', () => eventually(() => areUp(NODES), 120));

  const urls = [MANAGER_ADDRESS, ...nodes.map(({ address }) => address)].map(urlOf);
  const lostOf = (visits: Visit[]) =>
    visits.filter((v) => v.ended !== undefined && !wasAnswered(v));
  const describe = (visits: Visit[]) =>
    JSON.stringify(
      visits.map(({ url, path, error, status }) => `${url}${path}: ${error ?? status}`),
    );
  const figures: [string, string | number][] = [];

  await t.test('Prometheus counts exactly what the visitors do, on all nodes', async () => {
    const visitors = startVisitors(urls, RATE);
    await sleep(20_000);
    await visitors.stop();
    const { visits } = visitors;
    assert.equal(describe(lostOf(visits)), '[]');
    const counter = 'django_http_requests_total{job="app",endpoint=~"/my-view|/trigger-error/"}';
    await eventually(
      async () => assert.equal(await queryValue(prometheus, `sum(${counter})`), visits.length),
      30,
    );
    figures.push(['visits without a change, counted exactly', visits.length]);
  });

  const visitors = startVisitors(urls, RATE);
  await sleep(5_000);

  const updateState = (): string =>
    docker('service', 'inspect', '--format', '{{.UpdateStatus.State}}', `${STACK}_app`);
  const update = async (name: string, settings: Record<string, string>, state: string) => {
    const begun = performance.now();
    const before = visitors.visits.length;
    deploy(settings);
    await eventually(() => {
      const running = tasks().map(({ Spec }) => Spec.ContainerSpec.Image);
      assert.deepEqual([updateState(), ...new Set(running)], [state, `${IMAGE}:2`]);
      assert.equal(running.length, NODES);
    }, 300);
    figures.push([`${name}: took`, seconds(performance.now() - begun)]);
    figures.push([`${name}: visits`, visitors.visits.length - before]);
    assert.equal(describe(lostOf(visitors.visits)), '[]');
  };

  await t.test('a rolling update loses no visit', () =>
    update('rolling update', { APP_IMAGE: `${IMAGE}:2` }, 'completed'),
  );

  await t.test('an update that does not start is rolled back, and loses no visit', () =>
    update(
      'failed update',
      { APP_IMAGE: `${IMAGE}:1`, LOG_LEVEL: 'nonsense' },
      'rollback_completed',
    ),
  );

  await visitors.stop();

  await t.test(
    'the tracker has accepted every event, those of replaced replicas, too',
    async () => {
      assert.equal(describe(lostOf(visitors.visits)), '[]');
      const errors = visitors.visits.filter(({ eventId }) => eventId !== undefined);
      assert.ok(errors.length > 0);
      // Two scrapes.
      await sleep(10_000);
      await eventually(async () => {
        assert.equal(await queryValue(prometheus, 'count(sentry_events_waiting == 0)'), NODES);
      }, 120);
      const gone =
        'sum(max_over_time(sentry_events_lost_total{category="error"}[1h])) or vector(0)';
      assert.equal(await queryValue(prometheus, gone), 0);
      figures.push(['events', errors.length]);
    },
  );

  await t.test('killing a node loses only the visits on it', async () => {
    const victim = nodes.at(-1);
    assert.ok(victim);
    const visitors = startVisitors(urls, RATE);
    await sleep(5_000);
    victim.cut();
    victim.kill();
    // Longer than a visit may take, so that each on the node has its end.
    await sleep(20_000);
    await visitors.stop();
    const lost = lostOf(visitors.visits);
    figures.push(['node killed: visits', visitors.visits.length]);
    figures.push(['node killed: visits lost', lost.length]);
    const elsewhere = lost.filter(({ url }) => url !== urlOf(victim.address));
    assert.equal(describe(elsewhere), '[]');
    const [last] = visitors.visits.slice(-1);
    assert.ok(last && wasAnswered(last), 'the other nodes answer');
    await eventually(() => areUp(NODES - 1), 60);
  });

  const width = Math.max(...figures.map(([name]) => name.length));
  console.log(figures.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n'));
});

/** Where a service on this machine's own engine is reached without a published port. */
function addressInside(service: string): string {
  const name = `label=com.docker.swarm.service.name=${STACK}_${service}`;
  const container = docker('ps', '--quiet', '--no-trunc', '--filter', name);
  const [{ Containers }] = JSON.parse(docker('network', 'inspect', 'docker_gwbridge'));
  return Containers[container].IPv4Address.split('/')[0];
}
