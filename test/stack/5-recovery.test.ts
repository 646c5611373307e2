/** Every service comes back after a restart, a crash and in a new container, with what it kept. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
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

test('a tracker whose name does not resolve loses events, counted, until it is back', async () => {
  const lost = async () =>
    (await queryValue(urls.prometheus, 'sum(sentry_events_lost_total{category="error"})')) ?? 0;
  const before = await lost();

  await stack.compose('stop', 'bugsink');
  const lookup = "require('node:dns').lookup('bugsink', (error) => console.log(error?.code))";
  const code = await stack.compose('exec', '-T', 'app', 'node', '--eval', lookup);
  assert.match(code, /ENOTFOUND|EAI_AGAIN/, 'the engine forgets the name of a stopped container');
  await triggerError(urls.app);
  await eventually(async () => assert.equal((await lost()) - before, 1, 'it is counted'), 60);

  await stack.compose('up', '-d', '--no-deps', '--wait', 'bugsink');
  const returns = await use.bugsink();
  await eventually(returns, 30);
});
