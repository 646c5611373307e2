/** Grafana as a visitor finds it. Skipped where a stub takes its place. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { startStack } from './helpers/compose.ts';
import { dashboards } from './helpers/queries.ts';
import { getJson, type Json, post } from './helpers/services.ts';

const { grafana } = (await startStack()).urls;
const { version } = await getJson(`${grafana}/api/health`);
const skip = version.includes('STUB') && `Grafana is a stub, version ${version}`;

test('Grafana reaches the data source that the panels query', { skip }, async () => {
  const file = readFileSync('grafana/provisioning/datasources/prometheus.yml', 'utf8');
  for (const { uid } of parse(file).datasources) {
    const health = await getJson(`${grafana}/api/datasources/uid/${uid}/health`);
    assert.equal(health.status, 'OK', health.message);
  }
});

test('Grafana opens on the dashboard, which is complete', { skip }, async () => {
  const { redirectUri } = await getJson(`${grafana}/api/dashboards/home`);
  assert.equal(redirectUri, `/d/default-home-dashboard/${dashboards[0]?.title.toLowerCase()}`);
  for (const { uid, panels } of dashboards) {
    const { dashboard, meta } = await getJson(`${grafana}/api/dashboards/uid/${uid}`);
    const titles = (panels: Json[]) => panels.map(({ title }) => title);
    assert.deepEqual(titles(dashboard.panels), titles(panels));
    assert.equal(meta.canSave, false);
  }
});

test('a visitor of Grafana can view and query, and nobody can log in', { skip }, async () => {
  const actions = await getJson(`${grafana}/api/access-control/user/actions`);
  for (const action of ['dashboards:read', 'datasources:query']) assert.ok(actions[action], action);
  for (const [path, body] of [
    ['/api/dashboards/db', { dashboard: { title: 'mine', panels: [] }, overwrite: true }],
    ['/api/datasources', { name: 'mine', type: 'prometheus', access: 'proxy' }],
    ['/login', { user: 'admin', password: 'admin' }],
  ] as const) {
    const { status } = await post(grafana + path, body);
    assert.ok(status >= 400 && status < 500, `${path} answered ${status}`);
  }
});
