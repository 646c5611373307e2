/**
 * The stack in a swarm of several engines on this machine, under load from its first minute to its
 * last: a node is killed, the application is updated, and updated to a version that does not start.
 *
 * The visitors keep account of every visit. What they counted is compared with what arrived in the
 * tracker and in Prometheus. Everything is removed in the end, also after Ctrl-C.
 *
 * SWARM_NODES  how many engines, this machine's own included   3
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { get } from 'node:http';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { freePort } from '../helpers/free-port.ts';
import { asUuid, getJson, type Json, queryValue } from '../stack/helpers/services.ts';
import {
  MANAGER_ADDRESS,
  makeNetwork,
  noEngines,
  removeNodes,
  startNode,
} from './helpers/engines.ts';
import { startVisitors, type Visit, wasAnswered } from './helpers/visitors.ts';

const NODES = Number(process.env.SWARM_NODES || 3);
const REPLICAS = 2 * NODES;
/** Visits per second: what Bugsink on a small machine keeps up with, a twelfth of them being errors. */
const RATE = 48;
// A name of its own for each run: engines may remember networks of a swarm that they have left.
const STACK = `monitoring-test-${process.pid}`;
const IMAGE = 'monitoring-test-swarm';

const docker = (...args: string[]): string =>
  execFileSync('docker', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
const jsonLines = (lines: string): Json[] =>
  lines
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
const pause = (milliseconds: number) =>
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

/** What is left of the stack on this machine's own engine. */
function leftovers(...kinds: string[]): [kind: string, id: string][] {
  const label = `label=com.docker.stack.namespace=${STACK}`;
  return (kinds.length > 0 ? kinds : ['container', 'network']).flatMap((kind) =>
    docker(kind, 'ls', ...(kind === 'container' ? ['--all'] : []), '--quiet', '--filter', label)
      .split('\n')
      .filter(Boolean)
      .map((id): [string, string] => [kind, id]),
  );
}
const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;

const reason = noEngines() ?? swarmInUse();

/** The swarm that this machine is in would be left in the end. */
function swarmInUse(): string | undefined {
  const state = docker('info', '--format', '{{.Swarm.LocalNodeState}}');
  return state === 'inactive' ? undefined : `the Docker engine is in a swarm already (${state})`;
}

test(`a swarm of ${NODES} nodes and ${REPLICAS} replicas`, { skip: reason ?? false }, async (t) => {
  const had = docker('network', 'ls', '--quiet', '--filter', 'name=docker_gwbridge');
  let isClean = false;
  const clean = () => {
    if (isClean) return;
    isClean = true;
    console.log('cleaning up');
    spawnSync('docker', ['stack', 'rm', STACK]);
    // Networks go after their containers, and only while there is a swarm.
    for (let attempt = 0; attempt < 60 && leftovers().length > 0; attempt++) pause(500);
    spawnSync('docker', ['swarm', 'leave', '--force']);
    removeNodes();
    for (const [kind, id] of leftovers()) spawnSync('docker', [kind, 'rm', '--force', id]);
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

  // ------------------------------------------------------------------------------------------------
  console.log(`starting ${NODES - 1} further engines`);
  makeNetwork();
  const loaded = await buildImages();
  const advertise = [
    '--advertise-addr',
    MANAGER_ADDRESS,
    '--listen-addr',
    `${MANAGER_ADDRESS}:2377`,
  ];
  // Other subnets at each run, for the same reason as the stack's name.
  const pool = `10.${100 + (process.pid % 100)}.0.0/16`;
  docker('swarm', 'init', ...advertise, '--default-addr-pool', pool);
  docker(
    'node',
    'update',
    '--label-add',
    'monitoring=true',
    docker('info', '--format', '{{.Swarm.NodeID}}'),
  );
  const token = docker('swarm', 'join-token', '--quiet', 'worker');
  const nodes = Array.from({ length: NODES - 1 }, (_, index) => {
    const node = startNode(index + 2);
    const load = `docker save ${loaded.join(' ')} | docker --host unix://${node.socket} load --quiet`;
    execFileSync('sh', ['-c', load], { stdio: ['ignore', 'ignore', 'inherit'] });
    node.docker(
      'swarm',
      'join',
      '--token',
      token,
      '--advertise-addr',
      node.address,
      `${MANAGER_ADDRESS}:2377`,
    );
    return node;
  });

  const appPort = await freePort();
  const secret = [
    `COOKIE_SECRET=${'a secret of more than 32 characters'}`,
    'SENTRY_DSN=http://5d1c0f7e9b3a48628f4e6a2b7c90d135@bugsink:8000/1',
  ].join('\n');
  execFileSync('docker', ['secret', 'create', 'app-env-1', '-'], {
    input: secret,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const deploy = (settings: Record<string, string>) =>
    execFileSync('deploy/swarm/deploy', ['--resolve-image', 'never', '--detach'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        // Whoever runs the test may have settings in .env that it does not expect.
        COMPOSE_ENV_FILES: '/dev/null',
        STACK,
        APP_PORT: appPort,
        APP_REPLICAS: String(REPLICAS),
        ...settings,
      },
    });
  console.log('deploy/swarm/deploy');
  deploy({ APP_IMAGE: `${IMAGE}:1` });

  /** "2/2", by the service's name. */
  const replicas = (): Record<string, string> =>
    Object.fromEntries(
      jsonLines(docker('stack', 'services', STACK, '--format', 'json')).map(
        ({ Name, Replicas }) => [Name.slice(STACK.length + 1), Replicas],
      ),
    );
  /** The tasks of the application that run and are meant to. */
  const tasks = (): Json[] => {
    const ids = docker(
      'service',
      'ps',
      `${STACK}_app`,
      '--filter',
      'desired-state=running',
      '--quiet',
    );
    const all: Json[] = JSON.parse(docker('inspect', ...ids.split('\n').filter(Boolean)));
    return all.filter(({ Status }) => Status.State === 'running');
  };

  await t.test('all services are there, with replicas and HAProxy on each node', async () => {
    await eventually(() => {
      const { 'bugsink-project': project, ...services } = replicas();
      assert.match(project ?? '', /\(1\/1 completed\)/);
      for (const [name, count] of Object.entries(services)) {
        const [running, wanted] = count.split('/');
        assert.equal(running, wanted, `${name}: ${count}`);
      }
      assert.equal(services.app, `${REPLICAS}/${REPLICAS}`);
      assert.equal(services.haproxy, `${NODES}/${NODES}`);
    }, 180);
    assert.equal(new Set(tasks().map(({ NodeID }) => NodeID)).size, NODES);
  });

  const prometheus = `http://${addressInside('prometheus')}:9090`;
  const url = `http://127.0.0.1:${appPort}`;

  const allAreUp = async (nodes: number) => {
    const app = 'count(up{job="app"} == 1)';
    const haproxy = 'count(up{job="haproxy"} == 1)';
    const servers = 'min(haproxy_backend_active_servers{proxy="app"})';
    assert.equal(await queryValue(prometheus, app), REPLICAS, app);
    assert.equal(await queryValue(prometheus, haproxy), nodes, haproxy);
    assert.equal(await queryValue(prometheus, servers), REPLICAS, servers);
  };
  await t.test('Prometheus finds every replica and every HAProxy by DNS', () =>
    eventually(() => allAreUp(NODES), 120),
  );

  // ------------------------------------------------------------------------------------------------
  const figures: [string, string | number][] = [];
  const visits: Visit[] = [];
  let visitors: ReturnType<typeof startVisitors>;
  const startLoad = () => {
    visitors = startVisitors(url, RATE);
  };
  const stopLoad = async () => {
    await visitors.stop();
    visits.push(...visitors.visits);
  };
  const lostSince = (begun: number) =>
    visitors.visits.filter(
      (visit) => visit.begun >= begun && visit.ended !== undefined && !wasAnswered(visit),
    );
  const describe = (lost: Visit[]) =>
    JSON.stringify(lost.map(({ path, status, error }) => error ?? `${path}: ${status}`));

  const counter = 'django_http_requests_total{job="app",endpoint=~"/my-view|/trigger-error/"}';
  const proxied = `haproxy_frontend_http_requests_total{proxy="pages"}`;

  await t.test('without a change, Prometheus counts exactly what the visitors do', async () => {
    startLoad();
    await sleep(20_000);
    await stopLoad();
    assert.equal(describe(visits.filter((visit) => !wasAnswered(visit))), '[]');
    await eventually(async () => {
      assert.equal((await counted(prometheus, counter)).total, visits.length);
      assert.equal((await counted(prometheus, proxied)).total, visits.length);
    }, 30);
    figures.push(['visits without a change, counted exactly', visits.length]);
    const samples = (job: string) =>
      queryValue(prometheus, `avg(scrape_samples_post_metric_relabeling{job="${job}"})`);
    figures.push(['samples of a scrape: replica', (await samples('app')) ?? Number.NaN]);
    figures.push(['samples of a scrape: HAProxy', (await samples('haproxy')) ?? Number.NaN]);
  });

  // From here on there are visitors until the totals are compared.
  startLoad();
  await sleep(5_000);
  const killed = { begun: 0, ended: 0 };

  await t.test('a node that is killed costs no more than the visits in flight', async () => {
    const victim = nodes.at(-1);
    assert.ok(victim);
    killed.begun = performance.now();
    victim.cut();
    killed.ended = performance.now();
    victim.kill();
    // Longer than HAProxy waits for an answer, so that every visit on the node has its end.
    await sleep(20_000);
    const inFlight = visitors.visits.filter(
      ({ begun, ended }) =>
        begun <= killed.ended && (ended ?? Number.POSITIVE_INFINITY) > killed.begun,
    );
    const lost = lostSince(0);
    figures.push(['node killed: visits in flight on all nodes', inFlight.length]);
    figures.push(['node killed: visits lost', lost.length]);
    const late = visitors.visits.filter(({ begun }) => begun > killed.ended);
    figures.push(['node killed: longest visit after it', slowest(late)]);
    for (const visit of lost)
      assert.ok(inFlight.includes(visit), `not in flight: ${describe([visit])}`);
  });

  await t.test('its replicas come back on the other nodes', async () => {
    await eventually(() => {
      const running = tasks();
      assert.equal(running.length, REPLICAS);
      assert.equal(new Set(running.map(({ NodeID }) => NodeID)).size, NODES - 1);
    }, 120);
    figures.push([
      'node killed: all replicas run again after',
      seconds(performance.now() - killed.begun),
    ]);
    await eventually(() => allAreUp(NODES - 1), 120);
  });

  const updateState = (): string =>
    docker('service', 'inspect', '--format', '{{.UpdateStatus.State}}', `${STACK}_app`);
  const images = () => [...new Set(tasks().map(({ Spec }) => Spec.ContainerSpec.Image))];

  await t.test('a rolling update loses no visit', async () => {
    const begun = performance.now();
    deploy({ APP_IMAGE: `${IMAGE}:2` });
    await eventually(() => {
      assert.equal(updateState(), 'completed');
      assert.deepEqual(images(), [`${IMAGE}:2`]);
      assert.equal(tasks().length, REPLICAS);
    }, 300);
    // The last replicas that it stopped may still be draining.
    await sleep(10_000);
    figures.push(['rolling update: took', seconds(performance.now() - begun)]);
    const during = visitors.visits.filter((visit) => visit.begun >= begun);
    figures.push(['rolling update: visits', during.length]);
    figures.push(['rolling update: visits lost', lostSince(begun).length]);
    figures.push(['rolling update: longest visit', slowest(during)]);
    assert.equal(describe(lostSince(begun)), '[]');
  });

  await t.test('an update that does not start is rolled back, and loses no visit', async () => {
    const begun = performance.now();
    deploy({ APP_IMAGE: `${IMAGE}:1`, LOG_LEVEL: 'nonsense' });
    await eventually(() => {
      assert.equal(updateState(), 'rollback_completed');
      assert.deepEqual(images(), [`${IMAGE}:2`]);
      assert.equal(tasks().length, REPLICAS);
    }, 300);
    await sleep(10_000);
    const during = visitors.visits.filter((visit) => visit.begun >= begun);
    figures.push(['failed update: rolled back after', seconds(performance.now() - begun)]);
    figures.push(['failed update: visits', during.length]);
    figures.push(['failed update: visits lost', lostSince(begun).length]);
    assert.equal(describe(lostSince(begun)), '[]');
  });

  await stopLoad();
  const loadEnded = Date.now() / 1000;

  await t.test('every event that an answer names is in the tracker', async () => {
    // A node that dies takes along what its replicas had answered, but not sent yet.
    const sent = visits.flatMap(({ eventId, ended = 0 }) =>
      eventId ? [{ id: asUuid(eventId), ended }] : [],
    );
    const api = bugsinkApi(`http://${addressInside('bugsink')}:8000`);
    const restarts = docker('service', 'ps', '--quiet', `${STACK}_bugsink`).split('\n').length - 1;
    figures.push(['restarts of Bugsink', restarts]);
    const countedLost = 'sum(max_over_time(sentry_events_lost_total{category="error"}[1h]))';
    // Bugsink takes events at once, and files them one after the other.
    await eventually(async () => {
      const stored = await api.eventIds();
      const missing = sent.filter(({ id }) => !stored.has(id));
      const unexplained = missing.filter(
        ({ ended }) => ended < killed.begun - 5_000 || ended > killed.ended + 1_000,
      );
      const times = unexplained.map(({ ended }) => seconds(ended - killed.begun));
      assert.equal(
        unexplained.length,
        0,
        `${unexplained.length} of ${sent.length} events are missing, by the seconds since the node died: ` +
          `${times}. Counted as lost: ${await queryValue(prometheus, countedLost)}`,
      );
      figures.push(['error events', sent.length]);
      figures.push(['error events that died with the node', missing.length]);
    }, 180);
  });

  await t.test("Prometheus's totals match the visitors' own", async () => {
    // The last visits are in the answer to the first scrape after them.
    await eventually(async () => {
      const oldest = await queryValue(prometheus, 'min(timestamp(up{job=~"app|haproxy"}))');
      assert.ok((oldest ?? 0) > loadEnded, `the oldest scrape is of ${oldest}`);
    }, 30);
    const app = await counted(prometheus, counter);
    const haproxy = await counted(prometheus, proxied);
    assert.equal(app.alive, REPLICAS);
    // What a replica counts after its last scrape nobody will ever know. A node that dies takes up
    // to 5 seconds of it along. So does a replica that is stopped, and the second in which it says
    // farewell: the DNS forgets it first.
    const tolerance = Math.ceil(app.gone * (RATE / REPLICAS) * (5 + 1));
    const increase = await queryValue(prometheus, `sum(increase(${counter}[1h]))`);
    figures.push(['visits in all', visits.length]);
    figures.push(['counted by HAProxy', haproxy.total]);
    figures.push(['counted by all replicas, of which gone', `${app.total}, ${app.gone}`]);
    figures.push(['sum(increase(...[1h]))', Math.round(increase ?? 0)]);
    figures.push(['tolerance', tolerance]);
    assert.equal(haproxy.total, visits.length);
    assert.ok(app.total <= visits.length, `${app.total} counted, more than ${visits.length}`);
    assert.ok(app.total >= visits.length - tolerance, `${app.total} of ${visits.length} counted`);
  });

  const width = Math.max(...figures.map(([name]) => name.length));
  console.log(figures.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n'));
});

const slowest = (visits: Visit[]) =>
  seconds(Math.max(...visits.map(({ begun, ended }) => (ended ?? performance.now()) - begun)));

/**
 * What a counter has counted, by all the samples there are: each series from 0, and again from 0
 * where it falls. `increase()` estimates the same between its samples.
 */
async function counted(prometheus: string, selector: string) {
  const parameters = new URLSearchParams({ query: `${selector}[1h]` });
  const { data } = await getJson(`${prometheus}/api/v1/query?${parameters}`);
  const newest = new Map<string, number>();
  let total = 0;
  for (const { metric, values } of data.result) {
    let last = 0;
    for (const [time, text] of values) {
      const value = Number(text);
      total += value < last ? value : value - last;
      last = value;
      newest.set(metric.instance, Math.max(time, newest.get(metric.instance) ?? 0));
    }
  }
  const gone = [...newest.values()].filter((time) => time < Date.now() / 1000 - 15).length;
  return { total, gone, alive: newest.size - gone };
}

/** Bugsink's API, with a token that is made for it. */
function bugsinkApi(bugsink: string) {
  const token = docker('exec', containerOf('bugsink'), 'bugsink-manage', 'create_auth_token');
  // Bugsink answers only to its own names, and fetch() would not send that Host.
  const headers = { host: 'bugsink', authorization: `Bearer ${token.split('\n').at(-1)}` };
  const page = (url: string): Promise<Json> =>
    new Promise((resolve, reject) => {
      get(url, { headers }, async (response) => {
        const body = Buffer.concat(await response.toArray()).toString();
        if (response.statusCode === 200) resolve(JSON.parse(body));
        else reject(new Error(`${url} answered ${response.statusCode}: ${body.slice(0, 500)}`));
      }).on('error', reject);
    });
  const pages = async (first: string): Promise<Json[]> => {
    const results: Json[] = [];
    for (let next: string | null = first; next; ) {
      const { results: some, next: more } = await page(next);
      results.push(...some);
      next = more && bugsink + more.replace(/^https?:\/\/[^/]+/, '');
    }
    return results;
  };
  const api = `${bugsink}/api/canonical/0`;
  return {
    async eventIds(): Promise<Set<string>> {
      const issues = await pages(`${api}/issues/?project=1`);
      const events = await Promise.all(issues.map(({ id }) => pages(`${api}/events/?issue=${id}`)));
      return new Set(events.flat().map(({ event_id }) => event_id));
    },
  };
}

/** Builds the application's image, under two names that stand for two versions. */
async function buildImages(): Promise<string[]> {
  console.log('docker build');
  execFileSync('docker', ['build', '--quiet', '--tag', `${IMAGE}:1`, '--tag', `${IMAGE}:2`, '.'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const files = ['--file', 'docker-compose.yml', '--file', 'deploy/haproxy/docker-compose.yml'];
  const haproxy = docker('compose', ...files, 'config', '--images')
    .split('\n')
    .find((image) => image.startsWith('haproxy:'));
  return [`${IMAGE}:1`, `${IMAGE}:2`, haproxy ?? ''];
}

/** The container of a service that runs on this machine's own engine. */
function containerOf(service: string): string {
  const name = `label=com.docker.swarm.service.name=${STACK}_${service}`;
  return docker('ps', '--quiet', '--no-trunc', '--filter', name);
}

/** Where it is reached from this machine without a published port. */
function addressInside(service: string): string {
  const [{ Containers }] = JSON.parse(docker('network', 'inspect', 'docker_gwbridge'));
  return Containers[containerOf(service)].IPv4Address.split('/')[0];
}
