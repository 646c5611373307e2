/** Every service comes back after a restart, a crash and in a new container, with what it kept. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { docker, SERVICES, type Service, startOwnStack } from './helpers/compose.ts';
import { traceOf } from './helpers/jaeger.ts';
import {
  asUuid,
  bugsinkApi,
  getJson,
  mails,
  postJson,
  query,
  queryValue,
  targets,
  triggerError,
} from './helpers/services.ts';

const stack = await startOwnStack({ name: 'recovery' });
const { urls } = stack;

/** For each service: puts something into it, and resolves to a test that it is there and works. */
const use: Record<Service, () => Promise<() => Promise<void>>> = {
  async app() {
    return async () => {
      assert.equal((await fetch(`${urls.app}/my-view`)).status, 200);
      const [target] = (await targets(urls.prometheus)).filter(
        ({ labels }) => labels.job === 'app',
      );
      assert.equal(target?.health, 'up', target?.lastError);
    };
  },

  async bugsink() {
    const api = await bugsinkApi(stack);
    const stored = async () => {
      const [issue] = (await api('/issues/?project=1')).results;
      const { results } = await api(`/events/?issue=${issue?.id}`);
      return results.map(({ event_id }: { event_id: string }) => event_id);
    };
    const isStored = async (id: string) =>
      assert.ok((await stored()).includes(asUuid(id)), `event ${id} is stored`);

    const old = await triggerError(urls.app);
    await eventually(() => isStored(old), 30);
    return async () => {
      await isStored(old);
      const fresh = await triggerError(urls.app);
      await eventually(() => isStored(fresh), 30);
    };
  },

  async prometheus() {
    const sampleAt = async (time: number) => {
      const [sample] = await query(urls.prometheus, 'process_start_time_seconds{job="app"}', time);
      assert.ok(sample, 'there is a sample of that time');
      return { time, value: sample.value[1] };
    };
    const old = await eventually(() => sampleAt(Date.now() / 1000), 30);
    return async () => {
      assert.deepEqual(await sampleAt(old.time), old);
      for (const { health, lastError } of await targets(urls.prometheus)) {
        assert.equal(health, 'up', lastError);
      }
    };
  },

  async alertmanager() {
    // Silences are written to the disk when Alertmanager stops and every 15 minutes. The restart
    // comes before the crash, so this one is on it.
    const { silenceID } = await postJson(`${urls.alertmanager}/api/v2/silences`, {
      matchers: [{ name: 'alertname', value: 'Planned', isRegex: false }],
      startsAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 3_600_000).toISOString(),
      createdBy: 'test',
      comment: 'kept over restarts',
    });
    return async () => {
      const silence = await getJson(`${urls.alertmanager}/api/v2/silence/${silenceID}`);
      assert.equal(silence.status.state, 'active');
    };
  },

  async jaeger() {
    // Its traces end with it, as docker-compose.yml says. It has to take new ones.
    return async () => {
      const response = await fetch(`${urls.app}/my-view?seconds=0`);
      await traceOf(urls.jaeger, response.headers.get('x-trace-id') ?? '', 2);
    };
  },

  async grafana() {
    return async () => {
      assert.equal((await getJson(`${urls.grafana}/api/health`)).database, 'ok');
    };
  },

  async maildev() {
    // Its mails end with it, as docker-compose.yml says. It has to take new ones.
    return async () => {
      const alertname = `Mail${Date.now()}`;
      const response = await fetch(`${urls.alertmanager}/api/v2/alerts`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify([{ labels: { alertname }, annotations: { summary: 'a mail' } }]),
      });
      assert.equal(response.status, 200);
      await eventually(async () => {
        const subjects = (await mails(urls.maildev)).map(({ subject }) => subject);
        assert.ok(
          subjects.some((subject) => subject.includes(alertname)),
          'the mail arrived',
        );
      }, 60);
    };
  },
};

interface State {
  StartedAt: string;
  Health: { Status: string };
}

async function containerState(service: Service): Promise<State> {
  const id = await stack.compose('ps', '--all', '--quiet', service);
  return JSON.parse(await docker(['inspect', '--format', '{{json .State}}', id]));
}

const ends: Record<string, (service: Service) => Promise<unknown>> = {
  restart: (service) => stack.compose('restart', service),
  // All of its processes at once. Not `docker kill`: the engine takes that for a wish to stop it.
  // The answer is lost with the container.
  crash: (service) =>
    stack.compose('exec', '-T', service, 'sh', '-c', 'kill -9 -1').catch(() => {}),
  // What is left then is what a named volume holds: images bring nameless ones, which would be kept.
  replacement: (service) =>
    stack.compose('up', '-d', '--no-deps', '--force-recreate', '--renew-anon-volumes', service),
};

for (const service of SERVICES) {
  test(`${service} comes back`, async (t) => {
    const works = await use[service]();
    await eventually(works, 30);
    for (const [name, end] of Object.entries(ends)) {
      await t.test(`after a ${name}, healthy and with its data`, async () => {
        const before = await containerState(service);
        await end(service);
        await eventually(async () => {
          const state = await containerState(service);
          assert.notEqual(state.StartedAt, before.StartedAt, 'it has been started again');
          assert.equal(state.Health.Status, 'healthy');
        }, 120);
        await eventually(works, 30);
      });
    }
  });
}

/** The ids of all events that Bugsink has, and how many events those are. */
async function storedEvents() {
  const api = await bugsinkApi(stack);
  const ids: string[] = [];
  const { results: issues } = await api('/issues/?project=1');
  for (const { id } of issues) {
    let page = await api(`/events/?issue=${id}`);
    for (;;) {
      ids.push(...page.results.map(({ event_id }: { event_id: string }) => event_id));
      if (!page.next) break;
      const { pathname, search } = new URL(page.next);
      page = await api(`${pathname.replace('/api/canonical/0', '')}${search}`);
    }
  }
  return ids;
}

const lostErrors = () =>
  queryValue(urls.prometheus, 'sum(sentry_events_lost_total{category="error"})');

const outages: Record<string, (whileAway: () => Promise<unknown>) => Promise<unknown>> = {
  // The engine forgets the name of a stopped container.
  'stopped, and its name does not resolve': async (whileAway) => {
    await stack.compose('stop', 'bugsink');
    const lookup = "require('node:dns').lookup('bugsink', (error) => console.log(error?.code))";
    const code = await stack.compose('exec', '-T', 'app', 'node', '--eval', lookup);
    assert.match(code, /ENOTFOUND|EAI_AGAIN/);
    await whileAway();
    await stack.compose('up', '-d', '--no-deps', '--wait', 'bugsink');
  },
  paused: async (whileAway) => {
    await stack.compose('pause', 'bugsink');
    await whileAway();
    await stack.compose('unpause', 'bugsink');
  },
  restarted: async (whileAway) => {
    await Promise.all([stack.compose('restart', 'bugsink'), whileAway()]);
  },
  'stopped while the application is restarted': async (whileAway) => {
    await stack.compose('stop', 'bugsink');
    await whileAway();
    await stack.compose('restart', 'app');
    await eventually(async () => assert.equal((await fetch(`${urls.app}/readyz`)).status, 200), 60);
    await stack.compose('up', '-d', '--no-deps', '--wait', 'bugsink');
  },
};

for (const [how, outage] of Object.entries(outages)) {
  test(`a tracker that is ${how} under load has every event afterwards, once`, async (t) => {
    const before = (await storedEvents()).length;
    const captured: string[] = [];
    await outage(async () => {
      // Five seconds: what Bugsink takes in five minutes is limited.
      for (let i = 0; i < 50; i++) {
        captured.push(await triggerError(urls.app));
        await sleep(100);
      }
    });
    await eventually(async () => {
      const stored = await storedEvents();
      assert.equal(stored.length - before, captured.length);
      for (const id of captured) assert.ok(stored.includes(asUuid(id)), `event ${id} is stored`);
    }, 180);
    assert.equal(await lostErrors(), 0);
    t.diagnostic(`${captured.length} of ${captured.length} events arrived`);
  });
}

test('behind a proxy of the Docker client that leads nowhere the services are healthy and talk', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'docker-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const proxy = 'http://192.0.2.1:3128';
  const proxies = { default: { httpProxy: proxy, httpsProxy: proxy } };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ proxies }));
  const plugins = join(process.env.DOCKER_CONFIG ?? join(homedir(), '.docker'), 'cli-plugins');
  if (existsSync(plugins)) symlinkSync(plugins, join(folder, 'cli-plugins'));
  const { DOCKER_CONFIG } = process.env;
  t.after(() => {
    if (DOCKER_CONFIG === undefined) delete process.env.DOCKER_CONFIG;
    else process.env.DOCKER_CONFIG = DOCKER_CONFIG;
  });
  process.env.DOCKER_CONFIG = folder;

  await stack.compose('up', '-d', '--no-build', '--force-recreate', '--wait', ...SERVICES);
  const environment = await stack.compose('exec', '-T', 'app', 'env');
  assert.match(environment, /^http_proxy=http:\/\/192\.0\.2\.1:3128$/m, 'it is passed on');
  for (const service of ['app', 'bugsink', 'grafana', 'maildev'] as const) {
    const works = await use[service]();
    await eventually(works, 60);
  }
});
