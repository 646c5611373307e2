/**
 * An alert's life cycle, from the first errors to the RESOLVED email, with the committed rules and
 * routes: only the durations are shortened.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import { startOwnStack } from './helpers/compose.ts';
import { dashboards, fillIn } from './helpers/queries.ts';
import { getJson, type Json, mailsAbout, post, query } from './helpers/services.ts';
import { startTraffic } from './helpers/traffic.ts';

/** Writes rules and routes with short durations, and returns a Compose file that mounts them. */
function writeShortened(): string {
  // The services' users are not ours.
  process.umask(0o022);
  const folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  after(() => rmSync(folder, { recursive: true }));
  cpSync('prometheus/rules', join(folder, 'rules'), { recursive: true });
  cpSync('alertmanager.yml', join(folder, 'alertmanager.yml'));
  const shorten = (file: string) =>
    writeFileSync(
      join(folder, file),
      readFileSync(join(folder, file), 'utf8')
        .replaceAll('[5m]', '[20s]')
        .replaceAll(/^( +(?:for|keep_firing_for|group_wait|group_interval):).*/gm, '$1 5s'),
    );
  for (const file of readdirSync(join(folder, 'rules'))) shorten(join('rules', file));
  shorten('alertmanager.yml');

  const mount = (source: string, target: string) => `${join(folder, source)}:${target}:ro,z`;
  const services = {
    prometheus: { volumes: [mount('rules', '/etc/prometheus/rules')] },
    alertmanager: { volumes: [mount('alertmanager.yml', '/etc/alertmanager/alertmanager.yml')] },
  };
  writeFileSync(join(folder, 'compose.yml'), stringify({ services }));
  return join(folder, 'compose.yml');
}

const { urls } = await startOwnStack('alerts', writeShortened());
const FIRING = /^\[FIRING page\] HighErrorRatio: More than 5% of the requests to app fail$/;
let stopErrors: () => void;

async function state(): Promise<string> {
  const { data } = await getJson(`${urls.prometheus}/api/v1/rules?rule_name[]=HighErrorRatio`);
  return data.groups[0].rules[0].state;
}

test('an alert is inactive before there are errors, and fires when half of the visits fail', async () => {
  // An alert that fires before Prometheus has found Alertmanager is sent a minute late.
  await eventually(async () => {
    const { data } = await getJson(`${urls.prometheus}/api/v1/alertmanagers`);
    assert.equal(data.activeAlertmanagers.length, 1);
    assert.equal(await state(), 'inactive');
  }, 30);
  stopErrors = startTraffic(urls.app, 0.5);
  await eventually(async () => assert.equal(await state(), 'pending'), 60);
  await eventually(async () => assert.equal(await state(), 'firing'), 60);
});

test('its email says what happened, and links to a page that says what to do', async () => {
  const [mail] = await eventually(async () => {
    const mails = await mailsAbout(urls.maildev, FIRING);
    assert.equal(mails.length, 1);
    return mails;
  }, 60);
  assert.equal(mail?.from[0]?.address, 'alertmanager@example.com');
  assert.equal(mail?.to[0]?.address, 'oncall@example.com');
  assert.match(mail?.html ?? '', /its requests with a 5xx status/);
  const [, link = ''] = /href="([^"]+\.md)"/.exec(mail?.html ?? '') ?? [];
  const page = await fetch(link);
  assert.match(page.headers.get('content-type') ?? '', /^text\/plain/);
  assert.match(await page.text(), /^# HighErrorRatio\n/);
});

test('the dashboard marks it on its graphs', async () => {
  for (const dashboard of dashboards) {
    for (const { target } of dashboard.annotations.list.filter(({ target }) => target?.expr)) {
      const marks = await query(urls.prometheus, fillIn(target.expr, dashboard));
      assert.ok(marks.length > 0);
    }
  }
});

test('Alertmanager keeps it for more than ten minutes without an update from Prometheus', async () => {
  const [alert] = await getJson(
    `${urls.alertmanager}/api/v2/alerts?filter=alertname=HighErrorRatio`,
  );
  const minutes = (Date.parse(alert.endsAt) - Date.parse(alert.updatedAt)) / 60_000;
  assert.ok(minutes > 10, `it would be resolved after ${minutes} minutes`);
});

test('without errors it is inactive again, and an email says that it is resolved', async () => {
  stopErrors();
  startTraffic(urls.app, 0);
  await eventually(async () => assert.equal(await state(), 'inactive'), 90);
  const RESOLVED = new RegExp(FIRING.source.replace('FIRING', 'RESOLVED'));
  await eventually(
    async () => assert.equal((await mailsAbout(urls.maildev, RESOLVED)).length, 1),
    60,
  );
  assert.equal((await mailsAbout(urls.maildev, FIRING)).length, 1, 'there is one email');
});

test('a page suppresses the email of its own ticket, but not that of another objective', async () => {
  const alert = (objective: string, severity: string): Json => ({
    labels: { alertname: 'Burn', job: 'app', objective, severity },
    annotations: { summary: objective },
  });
  const { status } = await post(`${urls.alertmanager}/api/v2/alerts`, [
    alert('availability', 'page'),
    alert('availability', 'ticket'),
    alert('latency', 'ticket'),
  ]);
  assert.equal(status, 200);
  await eventually(async () => {
    const mails = await mailsAbout(urls.maildev, /Burn/);
    assert.deepEqual(mails.map(({ subject }) => subject).sort(), [
      '[FIRING page] Burn: availability',
      '[FIRING ticket] Burn: latency',
    ]);
  }, 30);
});
