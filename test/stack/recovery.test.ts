/** Services that crash come back with their data, and no event is lost while the tracker is down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../helpers/eventually.ts';
import { docker, SERVICES, type Service, startOwnStack } from './helpers/compose.ts';
import {
  bugsinkApi,
  getJson,
  type Json,
  mailsAbout,
  post,
  query,
  queryValue,
  targets,
  traceOf,
  triggerError,
} from './helpers/services.ts';

const stack = await startOwnStack('recovery');
const { urls, compose } = stack;

/** The ids of all events that Bugsink has. */
async function storedEvents(): Promise<string[]> {
  const api = await bugsinkApi(stack);
  const ids: string[] = [];
  for (const { id } of (await api('/issues/?project=1')).results) {
    let next: string | null = `/events/?issue=${id}`;
    while (next) {
      const page: Json = await api(next);
      ids.push(...page.results.map(({ event_id }: Json) => event_id));
      next = page.next?.slice(page.next.indexOf('/events/')) ?? null;
    }
  }
  return ids;
}

/** Triggers errors for five seconds. */
async function triggerErrors(): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < 50; i++) {
    ids.push((await triggerError(urls.app)).eventId);
    await sleep(100);
  }
  return ids;
}

/** For each service: puts something into it, and resolves to a test that it is there and works. */
const use: Record<Service, () => Promise<() => Promise<void>>> = {
  async app() {
    return async () => assert.equal((await fetch(`${urls.app}/my-view`)).status, 200);
  },

  async bugsink() {
    const { eventId } = await triggerError(urls.app);
    return async () => assert.ok((await storedEvents()).includes(eventId));
  },

  async prometheus() {
    const expression = 'process_start_time_seconds{job="app"}';
    const time = Date.now() / 1000;
    const [old] = await query(urls.prometheus, expression, time);
    assert.ok(old);
    return async () => {
      assert.deepEqual((await query(urls.prometheus, expression, time))[0]?.value, old.value);
      const found = await targets(urls.prometheus);
      assert.ok(found.length > 0);
      for (const { health, lastError } of found) assert.equal(health, 'up', lastError);
    };
  },

  async alertmanager() {
    const answer = await post(`${urls.alertmanager}/api/v2/silences`, {
      matchers: [{ name: 'alertname', value: 'Planned', isRegex: false }],
      startsAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 3_600_000).toISOString(),
      createdBy: 'test',
      comment: 'kept over restarts',
    });
    const { silenceID } = (await answer.json()) as Json;
    // Silences are saved when Alertmanager stops, and once a minute.
    await compose('restart', 'alertmanager');
    return async () => {
      const silence = await getJson(`${urls.alertmanager}/api/v2/silence/${silenceID}`);
      assert.equal(silence.status.state, 'active');
    };
  },

  async jaeger() {
    // Its traces are lost. It has to accept new ones.
    return async () => {
      const response = await fetch(`${urls.app}/my-view?seconds=0`);
      await traceOf(urls.jaeger, response.headers.get('x-trace-id') ?? '', 2);
    };
  },

  async grafana() {
    return async () => assert.equal((await getJson(`${urls.grafana}/api/health`)).database, 'ok');
  },

  async maildev() {
    // Its emails are lost. It has to accept new ones.
    return async () => {
      const alertname = `Mail${Date.now()}`;
      await post(`${urls.alertmanager}/api/v2/alerts`, [
        { labels: { alertname }, annotations: { summary: 'an email' } },
      ]);
      await eventually(async () => {
        assert.equal((await mailsAbout(urls.maildev, new RegExp(alertname))).length, 1);
      }, 60);
    };
  },
};

async function containerState(service: Service): Promise<Json> {
  const id = await compose('ps', '--all', '--quiet', service);
  return JSON.parse(await docker(['inspect', '--format', '{{json .State}}', id]));
}

for (const service of SERVICES) {
  test(`${service} comes back after a kill -9, healthy and with its data`, async () => {
    const works = await eventually(use[service], 30);
    await eventually(works, 30);
    const { StartedAt } = await containerState(service);
    // All of its processes at once. Not `docker kill`, which the engine treats as an intended stop.
    // The response is lost with the container.
    await compose('exec', '-T', service, 'sh', '-c', 'kill -9 -1').catch(() => {});
    await eventually(async () => {
      const state = await containerState(service);
      assert.notEqual(state.StartedAt, StartedAt, 'it has been started again');
      assert.equal(state.Health.Status, 'healthy');
    }, 120);
    await eventually(works, 60);
  });
}

for (const [name, outage] of Object.entries<(errors: typeof triggerErrors) => Promise<string[]>>({
  'is paused': async (errors) => {
    await compose('pause', 'bugsink');
    const ids = await errors();
    await compose('unpause', 'bugsink');
    return ids;
  },
  'is stopped, even if the application is restarted meanwhile': async (errors) => {
    await compose('stop', 'bugsink');
    const ids = await errors();
    await compose('restart', 'app');
    await compose('up', '--detach', '--no-deps', '--wait', 'app', 'bugsink');
    return ids;
  },
})) {
  test(`no event is lost, and none arrives twice, while the tracker ${name}`, async () => {
    const before = (await storedEvents()).length;
    const ids = await outage(triggerErrors);
    await eventually(async () => {
      const stored = await storedEvents();
      assert.equal(stored.length - before, ids.length);
      for (const id of ids) assert.ok(stored.includes(id), `event ${id} is stored`);
    }, 180);
    const lost = 'sum(sentry_events_lost_total{category="error"})';
    await eventually(async () => assert.equal(await queryValue(urls.prometheus, lost), 0), 30);
  });
}
