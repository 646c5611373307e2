/** The article's steps, done against the running stack. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { parse } from 'yaml';
import { launchBrowser, noBrowser } from '../helpers/browser.ts';
import { eventually } from '../helpers/eventually.ts';
import { SERVICES, startStack } from './helpers/compose.ts';
import {
  asUuid,
  bugsinkApi,
  getJson,
  type Json,
  mails,
  queryValue,
  targets,
  triggerError,
} from './helpers/services.ts';

const stack = await startStack();
const { urls } = stack;

test('every service is running and healthy', async () => {
  const lines = (await stack.compose('ps', '--format', 'json')).split('\n');
  const services = lines.map((line) => JSON.parse(line));
  assert.deepEqual(
    services.map(({ Service }) => Service).sort(),
    SERVICES.toSorted(),
    'end the traffic, or the counts below are not exact: docker compose --profile traffic stop traffic',
  );
  for (const { Service, Health } of services) assert.equal(Health, 'healthy', Service);
});

test('the guide leads to every service', async () => {
  const html = await (await fetch(urls.app)).text();
  const links = [...html.matchAll(/href="(http[^"]+)"/g)].map(([, url]) => String(url));
  for (const service of SERVICES.filter((service) => service !== 'app')) {
    const { port } = new URL(urls[service]);
    assert.ok(
      links.some((link) => new URL(link).port === port),
      `no link to ${service}`,
    );
  }
});

test('every target of Prometheus is up', async () => {
  await eventually(async () => {
    const found = await targets(urls.prometheus);
    const jobs = found.map(({ labels }) => labels.job);
    assert.deepEqual(jobs.sort(), ['alertmanager', 'app', 'prometheus']);
    for (const { labels, health, lastError } of found) {
      assert.equal(health, 'up', `${labels.job}: ${lastError}`);
    }
  }, 30);
});

test('Prometheus sends its alerts to Alertmanager', async () => {
  const { data } = await getJson(`${urls.prometheus}/api/v1/alertmanagers`);
  assert.equal(data.activeAlertmanagers.length, 1);
});

test('every visit to /my-view adds 1 to the counter in Prometheus', async () => {
  const counter = 'sum(django_http_requests_total{method="GET",endpoint="/my-view"})';
  const count = () => queryValue(urls.prometheus, counter);
  const before = await eventually(async () => {
    const value = await count();
    assert.ok(value !== undefined, 'the series is there before the first visit');
    return value;
  }, 30);
  for (let visit = 0; visit < 5; visit++) {
    assert.equal((await fetch(`${urls.app}/my-view?seconds=0`)).status, 200);
  }
  await eventually(async () => assert.equal(await count(), before + 5), 30);
});

test('django_active_users is up in Prometheus while a page is held open, and 0 after', async () => {
  const gauge = () => queryValue(urls.prometheus, 'sum(django_active_users)');
  const visit = fetch(`${urls.app}/my-view?seconds=10`);
  await eventually(async () => assert.equal(await gauge(), 1), 10);
  assert.equal((await visit).status, 200);
  await eventually(async () => assert.equal(await gauge(), 0), 30);
});

test('three visits to /trigger-error/ are three events of one issue, and an issue is mailed', async (t) => {
  const api = await bugsinkApi(stack);
  const findIssue = async (): Promise<Json> => {
    const issues: Json[] = (await api('/issues/?project=1')).results;
    const found = issues.filter(({ transaction }) => transaction === 'GET /trigger-error/');
    assert.ok(found.length <= 1, `${found.length} issues`);
    return found[0];
  };
  const known = await findIssue();
  const eventsBefore: number = known?.digested_event_count ?? 0;

  const ids: string[] = [];
  for (let visit = 0; visit < 3; visit++) ids.push(asUuid(await triggerError(urls.app)));

  let events: Json[] = [];
  await t.test('Bugsink has them', async () => {
    const issue = await eventually(async () => {
      const issue = await findIssue();
      assert.equal(issue?.digested_event_count, eventsBefore + 3);
      return issue;
    }, 30);
    events = (await api(`/events/?issue=${issue.id}`)).results;
    const stored = events.map(({ event_id }) => event_id);
    for (const id of ids) assert.ok(stored.includes(id), `event ${id} is stored`);
  });

  await t.test('with the line of TypeScript that failed', async () => {
    const { id } = events.find(({ event_id }) => event_id === ids.at(-1)) ?? {};
    const { data } = await api(`/events/${id}/`);
    const frame = data.exception.values[0].stacktrace.frames.at(-1);
    assert.match(frame.filename, /src\/routes\/trigger-error\.ts$/);
    assert.match(frame.context_line, /1n \/ 0n/);
  });

  await t.test('the mail about the issue is in the mailbox', async (t) => {
    const findMail = async () =>
      (await mails(urls.maildev)).find(({ subject }) => /Division by zero/.test(subject));
    // Bugsink mails about an issue once, and the mailbox forgets when it stops.
    if (known && !(await findMail())) return t.skip('the issue is older than the mailbox');
    await eventually(async () => {
      const mail = await findMail();
      assert.ok(mail, 'there is a mail');
      assert.equal(mail.from[0]?.address, 'bugsink@example.com');
    }, 30);
  });
});

test('another error is an issue of its own', async () => {
  const api = await bugsinkApi(stack);
  assert.equal((await fetch(`${urls.app}/trigger-error/other/?seconds=0`)).status, 500);
  await eventually(async () => {
    const issues: Json[] = (await api('/issues/?project=1')).results;
    const types = issues.map(({ transaction, calculated_type }) => [transaction, calculated_type]);
    for (const issue of [
      ['GET /trigger-error/', 'RangeError'],
      ['GET /trigger-error/other/', 'SyntaxError'],
    ]) {
      assert.equal(types.filter((type) => String(type) === String(issue)).length, 1, `${issue}`);
    }
  }, 30);
});

/** Follows a link to an event as a reader does, with the demo login, to the event's details. */
async function openEvent(page: Page, link: string): Promise<void> {
  await page.goto(`${urls.app}/`);
  const [email = '', password = ''] = (
    await page.locator('dd code', { hasText: /@.+ \/ / }).innerText()
  ).split(' / ');
  await page.goto(link);
  await page.locator('input[name=username]').fill(email);
  await page.locator('input[name=password]').fill(password);
  await page.getByRole('button', { name: 'Login' }).click();
  await page.getByText('Stacktrace').first().waitFor();
  await page.getByRole('link', { name: /Event.Details/ }).click();
}

test('the link on the 500 page opens that very event, in a real browser', {
  skip: noBrowser,
}, async (t) => {
  const page = await (await launchBrowser(t)).newPage();
  await page.goto(`${urls.app}/trigger-error/`);
  const eventId = asUuid(await page.locator('#event-id').innerText());
  const link = await page.locator('#event-link').getAttribute('href');
  assert.ok(link);
  await openEvent(page, link);
  await page.getByText(eventId).first().waitFor();
});

test('a point on the latency panel links to the event of that very request', {
  skip: noBrowser,
}, async (t) => {
  const response = await fetch(`${urls.app}/trigger-error/`);
  const traceId = response.headers.get('x-trace-id') ?? '';

  const labels = await eventually(async () => {
    const now = Date.now() / 1000;
    const parameters = new URLSearchParams({
      query: 'http_request_duration_seconds_bucket',
      start: String(now - 120),
      end: String(now + 60),
    });
    const { data } = await getJson(`${urls.prometheus}/api/v1/query_exemplars?${parameters}`);
    const found = data
      .flatMap(({ exemplars }: Json) => exemplars)
      .find(({ labels }: Json) => labels.trace_id === traceId);
    assert.ok(found, 'Prometheus has the exemplar');
    return found.labels;
  }, 30);

  // As Grafana reads it: the variable from its environment, "$$" for "$", the value of the label.
  const { datasources } = parse(
    readFileSync('grafana/provisioning/datasources/prometheus.yml', 'utf8'),
  );
  const [destination] = datasources[0].jsonData.exemplarTraceIdDestinations;
  const { services } = JSON.parse(await stack.compose('config', '--format', 'json'));
  const link = destination.url
    .replace('$SENTRY_EVENT_URL', services.grafana.environment.SENTRY_EVENT_URL)
    .replace(/\$\$\{__value\.raw\}/, labels[destination.name]);

  const page = await (await launchBrowser(t)).newPage();
  await openEvent(page, link);
  await page.getByText(labels.event_uuid).first().waitFor();
  await page.getByText(traceId).first().waitFor();
});
