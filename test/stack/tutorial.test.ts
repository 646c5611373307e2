/** The article's steps, done against the running stack. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eventually } from '../helpers/eventually.ts';
import { compose, startStack } from './helpers/compose.ts';
import { bugsinkApi, getJson, mails, queryValue } from './helpers/services.ts';

let stack: Awaited<ReturnType<typeof startStack>>;
before(async () => {
  stack = await startStack();
});

test('every service is running and healthy', async () => {
  const lines = (await compose('ps', '--format', 'json')).split('\n');
  const services = lines.map((line) => JSON.parse(line));
  assert.deepEqual(services.map(({ Service }) => Service).sort(), [
    'alertmanager',
    'app',
    'bugsink',
    'grafana',
    'maildev',
    'prometheus',
  ]);
  for (const { Service, Health } of services) assert.equal(Health, 'healthy', Service);
});

test('the guide leads to every service', async () => {
  const html = await (await fetch(stack.app)).text();
  const links = [...html.matchAll(/href="(http[^"]+)"/g)].map(([, url]) => String(url));
  for (const address of Object.values(stack)) {
    if (address === stack.app) continue;
    const { port } = new URL(address);
    assert.ok(
      links.some((link) => new URL(link).port === port),
      `no link to port ${port}`,
    );
  }
});

test('an error in /trigger-error/ is an event in Bugsink, with its source line', async () => {
  const response = await fetch(`${stack.app}/trigger-error/`);
  assert.equal(response.status, 500);
  const html = await response.text();
  const eventId = /id="event-id">([0-9a-f]{32})</.exec(html)?.[1];
  assert.ok(eventId, 'the page shows an event id');

  const api = await bugsinkApi(stack.bugsink);
  const event = await eventually(async () => {
    const issues = (await api('/issues/?project=1')).results;
    const issue = issues.find(
      ({ calculated_type }: { calculated_type: string }) => calculated_type === 'RangeError',
    );
    assert.ok(issue, 'there is an issue');
    const events = (await api(`/events/?issue=${issue.id}`)).results;
    const event = events.find(
      (event: { event_id: string }) => event.event_id.replaceAll('-', '') === eventId,
    );
    assert.ok(event, 'the event is among its events');
    return api(`/events/${event.id}/`);
  }, 30);
  const frame = event.data.exception.values[0].stacktrace.frames.at(-1);
  assert.match(frame.filename, /src\/routes\/trigger-error\.ts$/);
  assert.match(frame.context_line, /1n \/ 0n/);
});

test('Bugsink mails about the new issue', async () => {
  await eventually(async () => {
    const mail = (await mails(stack.maildev)).find(({ subject }) => /RangeError/.test(subject));
    assert.ok(mail, 'there is a mail about the RangeError');
    assert.equal(mail.from[0]?.address, 'bugsink@example.com');
  }, 30);
});

test('every visit to /my-view adds 1 to the counter in Prometheus', async () => {
  const counter = 'sum(django_http_requests_total{method="GET",endpoint="/my-view"})';
  const countInPrometheus = async () => (await queryValue(stack.prometheus, counter)) ?? 0;
  const before = await eventually(async () => {
    const count = await queryValue(stack.prometheus, counter);
    assert.ok(count !== undefined, 'the series is there before the first visit');
    return count;
  }, 30);
  for (let visit = 0; visit < 5; visit++) {
    assert.equal((await fetch(`${stack.app}/my-view?seconds=0`)).status, 200);
  }
  await eventually(async () => assert.equal(await countInPrometheus(), before + 5), 30);
});

test('django_active_users is up in Prometheus while a page is held open, and 0 after', async () => {
  const gauge = () => queryValue(stack.prometheus, 'sum(django_active_users)');
  const visit = fetch(`${stack.app}/my-view?seconds=10`);
  await eventually(async () => assert.equal(await gauge(), 1), 10);
  assert.equal((await visit).status, 200);
  await eventually(async () => assert.equal(await gauge(), 0), 30);
});

test('Prometheus has every target up and every rule loaded without an error', async () => {
  await eventually(async () => {
    const { data } = await getJson(`${stack.prometheus}/api/v1/targets?state=active`);
    const targets: { labels: { job: string }; health: string; lastError: string }[] =
      data.activeTargets;
    assert.deepEqual(targets.map(({ labels }) => labels.job).sort(), [
      'alertmanager',
      'app',
      'prometheus',
    ]);
    for (const { labels, health, lastError } of targets) {
      assert.equal(health, 'up', `${labels.job}: ${lastError}`);
    }
  }, 30);
  const { data } = await getJson(`${stack.prometheus}/api/v1/rules`);
  const rules = data.groups.flatMap((group: { rules: object[] }) => group.rules);
  assert.ok(rules.length > 0);
  for (const { name, health, lastError } of rules) {
    assert.notEqual(health, 'err', `${name}: ${lastError}`);
  }
});

test('Prometheus sends its alerts to Alertmanager', async () => {
  const { data } = await getJson(`${stack.prometheus}/api/v1/alertmanagers`);
  assert.equal(data.activeAlertmanagers.length, 1);
});
