/**
 * The life of an alert, from the first errors to the mail that they are over: with the committed
 * rules and routes, of which only the durations are shortened.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import { startOwnStack } from './helpers/compose.ts';
import { dashboards, fillIn, variables } from './helpers/queries.ts';
import { assertHasData, getJson, type Json, mails, queryValue } from './helpers/services.ts';
import { startTraffic } from './helpers/traffic.ts';

const ALERT = 'HighErrorRatio';

const folder = mkdtempSync(join(tmpdir(), 'short-alerts-'));
after(() => rmSync(folder, { recursive: true }));
const { urls } = await startOwnStack({ name: 'alerts', files: [writeShortened()] });
let stopErrors: () => Promise<void>;

/** Writes rules and routes with short durations, and returns a Compose file that mounts them. */
function writeShortened(): string {
  // The services' users are not ours, and must be able to read the files.
  process.umask(0o022);
  mkdirSync(join(folder, 'rules'));
  for (const name of readdirSync('prometheus/rules')) {
    const rules = readFileSync(join('prometheus/rules', name), 'utf8');
    writeFileSync(
      join(folder, 'rules', name),
      rules
        .replace(/\[\d+[smhdw]\]/g, '[20s]')
        .replace(/^( +(?:for|keep_firing_for):).*/gm, '$1 5s'),
    );
  }
  const routes = readFileSync('alertmanager.yml', 'utf8');
  writeFileSync(
    join(folder, 'alertmanager.yml'),
    routes
      .replace(/group_wait:.*/, 'group_wait: 1s')
      .replace(/group_interval:.*/, 'group_interval: 5s'),
  );

  const file = join(folder, 'compose.yml');
  const mount = (source: string, target: string) => [`${join(folder, source)}:${target}:ro,z`];
  const services = {
    prometheus: { volumes: mount('rules', '/etc/prometheus/rules') },
    alertmanager: { volumes: mount('alertmanager.yml', '/etc/alertmanager/alertmanager.yml') },
  };
  writeFileSync(file, stringify({ services }));
  return file;
}

async function state(): Promise<string | undefined> {
  const { data } = await getJson(`${urls.prometheus}/api/v1/rules?rule_name[]=${ALERT}`);
  const [rule]: Json[] = data.groups.flatMap((group: Json) => group.rules);
  return rule?.state;
}

async function mailsAbout(status: string): Promise<number> {
  const subject = `[${status}] ${ALERT}: `;
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
  assert.equal(await mailsAbout('RESOLVED'), 0);
});

test('without errors it is inactive again, and a mail says that it is resolved', async () => {
  await stopErrors();
  startTraffic(urls.app, { rate: 20, errors: 0 });
  await eventually(async () => assert.equal(await state(), 'inactive'), 90);
  await eventually(async () => assert.equal(await mailsAbout('RESOLVED'), 1), 60);
  assert.equal(await queryValue(urls.prometheus, `count(ALERTS{alertname="${ALERT}"})`), undefined);
});
