/**
 * The life of an alert, from the first errors to the mail that they are over: with the committed
 * rules and routes, of which only the durations are shortened.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import { startOwnStack } from './helpers/compose.ts';
import { dashboards, fillIn, variables } from './helpers/queries.ts';
import { assertHasData, getJson, type Json, mails, queryValue } from './helpers/services.ts';
import { temporaryFolder, writeShortRoutes, writeShortRules } from './helpers/shortened.ts';
import { startTraffic } from './helpers/traffic.ts';

const ALERT = 'HighErrorRatio';

const REPOSITORY = 'https://git.example.com/you/shop/blob/main/';

const { urls, compose } = await startOwnStack({ name: 'alerts', files: [writeShortened()] });
let stopErrors: () => Promise<void>;

/** Writes rules and routes with short durations, and returns a Compose file that mounts them. */
function writeShortened(): string {
  const folder = temporaryFolder();
  writeShortRules(folder);
  writeShortRoutes(folder);
  const config = readFileSync('prometheus.yml', 'utf8');
  const commented = '  #external_labels:\n  #  repository: ';
  assert.ok(config.includes(commented + REPOSITORY), 'the setting is in the file');
  writeFileSync(
    join(folder, 'prometheus.yml'),
    config.replace(commented, commented.replaceAll('#', '')),
  );

  const file = join(folder, 'compose.yml');
  const mount = (source: string, target: string) => `${join(folder, source)}:${target}:ro,z`;
  const { command } = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true }).services
    .prometheus;
  const services = {
    prometheus: {
      // The last sample counts as the present for 5 minutes otherwise.
      command: [...command, '--query.lookback-delta=20s'],
      volumes: [
        mount('rules', '/etc/prometheus/rules'),
        mount('prometheus.yml', '/etc/prometheus/prometheus.yml'),
      ],
    },
    alertmanager: { volumes: [mount('alertmanager.yml', '/etc/alertmanager/alertmanager.yml')] },
  };
  // A disk that can be filled.
  const volumes = {
    prometheus: { driver_opts: { type: 'tmpfs', device: 'tmpfs', o: 'size=64m' } },
  };
  writeFileSync(file, stringify({ services, volumes }));
  return file;
}

async function state(alert = ALERT): Promise<string | undefined> {
  const { data } = await getJson(`${urls.prometheus}/api/v1/rules?rule_name[]=${alert}`);
  const [rule]: Json[] = data.groups.flatMap((group: Json) => group.rules);
  return rule?.state;
}

async function mailsAbout(status: string, alert = ALERT): Promise<number> {
  const subject = `[${status} page] ${alert}: `;
  return (await mails(urls.maildev)).filter((mail) => mail.subject.startsWith(subject)).length;
}

test(`${ALERT} is inactive before there are errors`, async () => {
  // An alert that fires before Prometheus has found Alertmanager is sent a minute late.
  await eventually(async () => {
    const { data } = await getJson(`${urls.prometheus}/api/v1/alertmanagers`);
    assert.equal(data.activeAlertmanagers.length, 1);
    assert.equal(await state(), 'inactive');
  }, 30);
});

test('when half of the visits fail it is pending, and then fires', async () => {
  stopErrors = startTraffic(urls.app, { rate: 20, errors: 0.5 });
  await eventually(async () => assert.equal(await state(), 'pending'), 60);
  await eventually(async () => assert.equal(await state(), 'firing'), 60);
});

test('the dashboard marks it on its graphs, and counts it', async () => {
  for (const dashboard of dashboards) {
    const values = variables(dashboard);
    for (const { target } of dashboard.annotations.list.filter(({ target }) => target?.expr)) {
      const expression = fillIn(target.expr, values);
      await eventually(() => assertHasData(urls.prometheus, expression), 30);
    }
  }
});

test('the mail that it fires is in the mailbox', async () => {
  await eventually(async () => assert.equal(await mailsAbout('FIRING'), 1), 60);
  const [mail] = (await mails(urls.maildev)).filter(({ subject }) => subject.includes(ALERT));
  assert.equal(mail?.from[0]?.address, 'alertmanager@example.com');
  assert.equal(mail?.to[0]?.address, 'oncall@example.com');
  assert.ok(mail.html.includes(`${REPOSITORY}docs/alerts/${ALERT}.md`), 'it links to the page');
  assert.doesNotMatch(mail.html, /repository = /, 'the address is no label');
  assert.equal(await mailsAbout('RESOLVED'), 0);
});

test('Alertmanager keeps it for more than ten minutes without a word from Prometheus', async () => {
  const filter = new URLSearchParams({ filter: `alertname="${ALERT}"` });
  const [alert] = await getJson(`${urls.alertmanager}/api/v2/alerts?${filter}`);
  const minutes = (Date.parse(alert.endsAt) - Date.parse(alert.updatedAt)) / 60_000;
  assert.ok(minutes > 10, `it would be resolved after ${minutes} minutes`);
});

test('without errors it is inactive again, and a mail says that it is resolved', async () => {
  await stopErrors();
  startTraffic(urls.app, { rate: 20, errors: 0 });
  await eventually(async () => assert.equal(await state(), 'inactive'), 90);
  await eventually(async () => assert.equal(await mailsAbout('RESOLVED'), 1), 60);
  assert.equal(await queryValue(urls.prometheus, `count(ALERTS{alertname="${ALERT}"})`), undefined);
});

test('a full disk is what the mail is about, and not that the application is away', async () => {
  const full = 'PrometheusNotIngestingSamples';
  const untrue = ['AppAbsent', 'TargetDown'];
  const mailed = () => Promise.all(untrue.map((alert) => mailsAbout('FIRING', alert)));
  // While the stack started, there was no replica.
  await eventually(async () => {
    for (const alert of [full, ...untrue]) assert.equal(await state(alert), 'inactive', alert);
  }, 120);
  const before = await mailed();
  const fill = ['sh', '-c', 'cat /dev/zero > /prometheus/filler'];
  await assert.rejects(compose('exec', '-T', 'prometheus', ...fill), /No space left on device/);
  await eventually(async () => assert.equal(await state(full), 'firing'), 120);
  await eventually(async () => assert.equal(await mailsAbout('FIRING', full), 1), 60);
  // Nor is it said later, when for most of a minute there has been no sample of a replica.
  const absent = 'count_over_time(absent(up{job="app"})[1m:5s]) > 9';
  await eventually(async () => assert.ok(await queryValue(urls.prometheus, absent)), 120);
  for (const alert of untrue) assert.equal(await state(alert), 'inactive', alert);
  assert.deepEqual(await mailed(), before);

  await compose('exec', '-T', 'prometheus', 'rm', '/prometheus/filler');
  await eventually(async () => assert.equal(await state(full), 'inactive'), 120);
  await eventually(async () => assert.equal(await mailsAbout('RESOLVED', full), 1), 60);
  assert.equal(await queryValue(urls.prometheus, 'count(up{job="app"} == 1)'), 1);
});
