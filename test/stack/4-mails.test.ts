/** What the mails about alerts say: with the committed routes, of which only the waits are shortened. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { eventually } from '../helpers/eventually.ts';
import { startOwnStack } from './helpers/compose.ts';
import { getJson, mails } from './helpers/services.ts';
import { temporaryFolder, writeShortRoutes } from './helpers/shortened.ts';

const folder = temporaryFolder();
writeShortRoutes(folder);
const file = join(folder, 'compose.yml');
const routes = `${join(folder, 'alertmanager.yml')}:/etc/alertmanager/alertmanager.yml:ro,z`;
writeFileSync(file, stringify({ services: { alertmanager: { volumes: [routes] } } }));
const { urls } = await startOwnStack({
  name: 'mails',
  files: [file],
  services: ['alertmanager', 'maildev'],
});

interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  endsAt?: string;
}

/** Gives alerts to Alertmanager, as Prometheus does. */
async function post(...alerts: Alert[]): Promise<void> {
  const response = await fetch(`${urls.alertmanager}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(alerts),
  });
  assert.equal(response.status, 200, await response.text());
}

const down = (instance: string): Alert => ({
  labels: { alertname: 'TargetDown', job: 'app', severity: 'page', instance },
  annotations: { summary: `app on ${instance} is down` },
});

/** Waits for a mail with exactly this subject. */
const arrives = (subject: string) =>
  eventually(async () => {
    const subjects = (await mails(urls.maildev)).map((mail) => mail.subject);
    assert.equal(subjects.filter((other) => other === subject).length, 1, `${subjects}`);
  }, 60);

test('of two replicas that are down, the subject names one and says how many', async () => {
  await post(down('10.0.0.1:9464'), down('10.0.0.2:9464'));
  await arrives('[FIRING page] TargetDown: app on 10.0.0.1:9464 is down (1 of 2)');
});

test('when the first is well again, the subject names the other', async () => {
  await post({ ...down('10.0.0.1:9464'), endsAt: new Date().toISOString() });
  await arrives('[FIRING page] TargetDown: app on 10.0.0.2:9464 is down');
});

test('when both are well again, the subject says that it is over', async () => {
  await post({ ...down('10.0.0.2:9464'), endsAt: new Date().toISOString() });
  await arrives('[RESOLVED page] TargetDown: app on 10.0.0.2:9464 is down');
});

test('an alert without a severity is mailed as well', async () => {
  await post({ labels: { alertname: 'MyOwn' }, annotations: { summary: 'something is wrong' } });
  await arrives('[FIRING] MyOwn: something is wrong');
});

test('a page silences its own ticket, and none of another objective or application', async () => {
  const burn = (job: string, objective: string, severity: string): Alert => ({
    labels: { alertname: 'ErrorBudgetBurn', job, objective, severity },
    annotations: { summary: `${job} spends the error budget of its ${objective} objective` },
  });
  await post(
    burn('app', 'availability', 'page'),
    burn('app', 'availability', 'ticket'),
    burn('app', 'latency', 'ticket'),
    burn('shop', 'availability', 'ticket'),
  );
  await eventually(async () => {
    const subjects = (await mails(urls.maildev)).map(({ subject }) => subject);
    assert.deepEqual(subjects.filter((subject) => subject.includes('Burn')).sort(), [
      '[FIRING page] ErrorBudgetBurn: app spends the error budget of its availability objective',
      '[FIRING ticket] ErrorBudgetBurn: app spends the error budget of its latency objective',
      '[FIRING ticket] ErrorBudgetBurn: shop spends the error budget of its availability objective',
    ]);
  }, 60);
  const alerts = await getJson(
    `${urls.alertmanager}/api/v2/alerts?${new URLSearchParams({ filter: 'severity="ticket"', active: 'false' })}`,
  );
  assert.deepEqual(
    alerts.map(({ labels }: Alert) => [labels.job, labels.objective]),
    [['app', 'availability']],
    'Alertmanager has it, and keeps it back',
  );
});
