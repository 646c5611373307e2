/** The article's steps, done against the running stack. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { launchBrowser, noBrowser } from '../helpers/browser.ts';
import { eventually } from '../helpers/eventually.ts';
import { SERVICES, startStack } from './helpers/compose.ts';
import {
  bugsinkApi,
  getJson,
  type Json,
  mailsAbout,
  queryValue,
  targets,
  traceOf,
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
    'end the traffic, or the counts below are not exact: docker compose stop traffic',
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

test('every target of Prometheus is up, and Alertmanager gets its alerts', async () => {
  await eventually(async () => {
    const found = await targets(urls.prometheus);
    const jobs = found.map(({ labels }) => labels.job);
    assert.deepEqual(jobs.sort(), ['alertmanager', 'app', 'prometheus']);
    for (const { labels, health, lastError } of found) {
      assert.equal(health, 'up', `${labels.job}: ${lastError}`);
    }
    const { data } = await getJson(`${urls.prometheus}/api/v1/alertmanagers`);
    assert.equal(data.activeAlertmanagers.length, 1);
  }, 30);
});

test('an application on this machine is scraped once a file in prometheus/targets names it', async (t) => {
  const file = 'prometheus/targets/test.yml';
  t.after(() => rmSync(file, { force: true }));
  writeFileSync(file, '- targets: [host.docker.internal:65000]\n  labels: { job: my-service }\n');
  await eventually(async () => {
    const jobs = (await targets(urls.prometheus)).map(({ labels }) => labels.job);
    assert.ok(jobs.includes('my-service'));
  }, 60);
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

test('two errors are two events of one issue in Bugsink, with their line of TypeScript, and an email', async () => {
  const api = await bugsinkApi(stack);
  const findIssue = async (): Promise<Json> => {
    const issues: Json[] = (await api('/issues/?project=1')).results;
    const found = issues.filter(({ transaction }) => transaction === 'GET /trigger-error/');
    assert.ok(found.length <= 1, `${found.length} issues`);
    return found[0];
  };
  const known = await findIssue();
  const ids = [await triggerError(urls.app), await triggerError(urls.app)].map((e) => e.eventId);
  const issue = await eventually(async () => {
    const issue = await findIssue();
    assert.equal(issue?.digested_event_count, (known?.digested_event_count ?? 0) + 2);
    return issue;
  }, 30);

  const events: Json[] = (await api(`/events/?issue=${issue.id}`)).results;
  for (const eventId of ids) {
    const { id } = events.find(({ event_id }) => event_id === eventId) ?? {};
    assert.ok(id, `event ${eventId} is stored`);
    const { data } = await api(`/events/${id}/`);
    const frame = data.exception.values[0].stacktrace.frames.at(-1);
    assert.match(frame.filename, /src\/routes\/trigger-error\.ts$/);
    assert.match(frame.context_line, /1n \/ 0n/);
    assert.equal(data.environment, 'development');
    assert.equal(data.release, 'fastify-sentry-prometheus@0.1.0');
  }

  // Bugsink sends one email per issue, and the mailbox loses them when it stops.
  if (known) return;
  await eventually(async () => {
    const [mail] = await mailsAbout(urls.maildev, /Division by zero/);
    assert.equal(mail?.from[0]?.address, 'bugsink@example.com');
  }, 30);
});

test('a page has a trace in Jaeger, with its work, and a failed page one with its event', async () => {
  const response = await fetch(`${urls.app}/my-view?seconds=1`);
  const [page, work] = await traceOf(urls.jaeger, response.headers.get('x-trace-id') ?? '', 2);
  assert.equal(page?.name, 'GET /my-view');
  assert.ok(page?.isRoot && !work?.isRoot);
  assert.ok(Number(work?.duration) >= 990_000, 'its work took a second');

  const { eventId, traceId } = await triggerError(urls.app);
  const [failed] = await traceOf(urls.jaeger, traceId, 1);
  assert.equal(failed?.tags.error, true);
  assert.equal(failed?.tags['sentry.event_id'], eventId);
});

test('a point on the latency panels has the trace and the event of its request', async () => {
  const { eventId, traceId } = await triggerError(urls.app);
  await eventually(async () => {
    const now = Date.now() / 1000;
    const parameters = new URLSearchParams({
      query: 'http_request_duration_seconds_bucket{status_code="500"}',
      start: String(now - 120),
      end: String(now + 60),
    });
    const { data } = await getJson(`${urls.prometheus}/api/v1/query_exemplars?${parameters}`);
    const points: Json[] = data.flatMap(({ exemplars }: Json) => exemplars);
    const point = points.find(({ labels }) => labels.trace_id === traceId);
    assert.equal(point?.labels.event_uuid, eventId);
  }, 30);
});

test('from the 500 page to that very event and to its trace, in a real browser', {
  skip: noBrowser,
}, async (t) => {
  const page = await (await launchBrowser(t)).newPage();
  await page.goto(`${urls.app}/trigger-error/`);
  const eventId = await page.locator('#event-id').innerText();
  const traceId = await page.locator('#trace-id').innerText();
  const eventLink = (await page.locator('#event-link').getAttribute('href')) ?? '';
  const traceLink = (await page.locator('#trace-link').getAttribute('href')) ?? '';

  assert.equal(new URL(traceLink).pathname, `/trace/${traceId}`);
  assert.equal((await page.goto(traceLink))?.status(), 200);
  // Jaeger fills in the links that its page gives to a span.
  assert.ok((await page.content()).includes(`${eventLink.replace(eventId, '')}#{sentry.event_id}`));

  await page.goto(eventLink);
  await page.locator('input[name=username]').fill('demo@example.com');
  await page.locator('input[name=password]').fill('demo-password');
  await page.getByRole('button', { name: 'Login' }).click();
  await page.getByText('Stacktrace').first().waitFor();
  await page.getByRole('link', { name: /Event.Details/ }).click();
  await page.getByText(eventId).first().waitFor();
  await page.getByText(traceId).first().waitFor();
});
