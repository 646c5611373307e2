/**
 * Grafana as a visitor finds it, through its own API. Where its place is taken by a stub, nothing
 * of this can be known: every test is then reported as skipped.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { startStack } from './helpers/compose.ts';
import {
  dashboards,
  dataSourceOf,
  dataSources,
  fillIn,
  panelQueries,
  variables,
} from './helpers/queries.ts';
import { getJson, type Json, postJson } from './helpers/services.ts';
import { patienceOf, startTraffic } from './helpers/traffic.ts';

const { urls } = await startStack();
const { grafana } = urls;
const { version } = await getJson(`${grafana}/api/health`);
const stub = version.includes('STUB') && `Grafana is a stub, version ${version}`;
if (!stub) startTraffic(urls.app, { rate: 20, errors: 0.02 });
const patience = patienceOf(90);

const status = async (path: string, init?: RequestInit) =>
  (await fetch(grafana + path, init)).status;

const json = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

for (const { uid, type, isDefault = false } of dataSources) {
  test(`data source ${uid} is provisioned and read-only`, { skip: stub }, async () => {
    const settings = await getJson(`${grafana}/api/frontend/settings`);
    const all: Json[] = Object.values(settings.datasources);
    const found = all.find((dataSource) => dataSource.uid === uid);
    assert.equal(found?.type, type);
    assert.equal(found.readOnly, true);
    assert.equal(found.isDefault, isDefault);
  });

  test(`data source ${uid} is healthy`, { skip: stub }, async () => {
    const health = await getJson(`${grafana}/api/datasources/uid/${uid}/health`);
    assert.equal(health.status, 'OK', health.message);
  });
}

for (const { uid, title, panels } of dashboards) {
  test(`dashboard "${title}" is provisioned, complete and read-only`, { skip: stub }, async () => {
    const { dashboard, meta } = await getJson(`${grafana}/api/dashboards/uid/${uid}`);
    assert.deepEqual(
      dashboard.panels.map((panel: Json) => panel.title),
      panels.map((panel) => panel.title),
    );
    assert.equal(meta.provisioned, true);
    assert.equal(meta.canSave, false);
  });
}

test('the home page is the dashboard', { skip: stub }, async () => {
  const { redirectUri } = await getJson(`${grafana}/api/dashboards/home`);
  const title = dashboards[0]?.title.toLowerCase();
  assert.equal(redirectUri, `/d/default-home-dashboard/${title}`);
});

test('a visitor may look and query, and change nothing', { skip: stub }, async () => {
  const actions = await getJson(`${grafana}/api/access-control/user/actions`);
  for (const action of ['dashboards:read', 'datasources:query']) assert.ok(actions[action], action);
  const dashboard = json({ dashboard: { title: 'mine', panels: [] }, overwrite: true });
  assert.ok([401, 403].includes(await status('/api/dashboards/db', dashboard)));
  const dataSource = json({ name: 'mine', type: 'prometheus', access: 'proxy' });
  assert.ok([401, 403].includes(await status('/api/datasources', dataSource)));
  assert.ok([401, 403].includes(await status('/api/admin/settings')));
});

test('admin with the password admin opens nothing', { skip: stub }, async () => {
  const login = await status('/login', json({ user: 'admin', password: 'admin' }));
  assert.ok(login >= 400, `the login answered ${login}`);
  const headers = { authorization: `Basic ${Buffer.from('admin:admin').toString('base64')}` };
  assert.ok([401, 403].includes(await status('/api/user', { headers })));
  assert.ok([401, 403].includes(await status('/api/admin/settings', { headers })));
});

for (const panelQuery of panelQueries) {
  const { name, dashboard, target } = panelQuery;
  test(`panel ${name} has data through Grafana`, { skip: stub }, async () => {
    const { uid, type } = dataSourceOf(panelQuery);
    const request = {
      // The intervals are left: for the API it is Grafana's server that fills them in.
      queries: [
        {
          ...target,
          expr: fillIn(target.expr, variables(dashboard)),
          datasource: { uid, type },
          intervalMs: 5000,
          maxDataPoints: 100,
        },
      ],
      from: 'now-1m',
      to: 'now',
    };
    await eventually(async () => {
      const { results } = await postJson(`${grafana}/api/ds/query`, request);
      const { error, frames = [] } = results[target.refId];
      assert.equal(error, undefined);
      // The first field is the time. NaN is null in JSON.
      const values = frames.flatMap((frame: Json) => frame.data.values.slice(1).flat());
      assert.ok(
        values.some((value: unknown) => value !== null),
        `no data: ${target.expr}`,
      );
    }, patience());
  });
}
