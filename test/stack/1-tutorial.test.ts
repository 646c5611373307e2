/** The article's steps, done against the running stack. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { parse } from 'yaml';
import { launchBrowser, noBrowser } from '../helpers/browser.ts';
import { eventually } from '../helpers/eventually.ts';
import { SERVICES, startStack } from './helpers/compose.ts';
import { type JaegerSpan, searchTraces, traceOf } from './helpers/jaeger.ts';
import { dataSourceOf, fillIn, intervals, panelQueries, variables } from './helpers/queries.ts';
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

/** The address of a link on a page. */
async function hrefOf(page: Page, selector: string): Promise<string> {
  const href = await page.locator(selector).getAttribute('href');
  assert.ok(href, selector);
  return href;
}

/** Follows a link to a trace's page, and has its spans from the API that the page itself asks. */
async function openTrace(page: Page, link: string, spans: number): Promise<JaegerSpan[]> {
  assert.equal((await page.goto(link))?.status(), 200);
  const { origin, pathname } = new URL(page.url());
  const [, traceId] = /^\/trace\/([0-9a-f]{32})$/.exec(pathname) ?? [];
  assert.ok(traceId, pathname);
  return traceOf(origin, traceId, spans);
}

/** The links that Jaeger's pages give to a span with these tags, as they fill them in. */
async function linksOf(page: Page, { tags }: JaegerSpan): Promise<string[]> {
  const [, json = ''] = /JAEGER_CONFIG *= *(\{.*?\});?$/m.exec(await page.content()) ?? [];
  const { linkPatterns } = JSON.parse(json);
  return linkPatterns
    .filter(({ key }: Json) => key in tags)
    .map(({ url }: Json) =>
      url.replaceAll(/#\{([^}]+)\}/g, (_: string, tag: string) =>
        encodeURIComponent(String(tags[tag])),
      ),
    );
}

test('from the 500 page to that very event, to its trace, and from there to the event, in a real browser', {
  skip: noBrowser,
}, async (t) => {
  const page = await (await launchBrowser(t)).newPage();
  await page.goto(`${urls.app}/trigger-error/`);
  const eventId = asUuid(await page.locator('#event-id').innerText());
  const traceId = await page.locator('#trace-id').innerText();
  const [eventLink, traceLink] = [
    await hrefOf(page, '#event-link'),
    await hrefOf(page, '#trace-link'),
  ];

  const [span] = await openTrace(page, traceLink, 1);
  assert.equal(span?.traceId, traceId);
  assert.equal(span?.tags.error, true);
  assert.deepEqual(await linksOf(page, span as JaegerSpan), [eventLink]);

  await openEvent(page, eventLink);
  await page.getByText(eventId).first().waitFor();
  await page.getByText(traceId).first().waitFor();
});

test('the guide leads to the trace of a slow page and its work, in a real browser', {
  skip: noBrowser,
}, async (t) => {
  const page = await (await launchBrowser(t)).newPage();
  await page.goto(urls.app);
  const step = page.locator('#performance');
  const searchLink = await step.locator('a.see[href*="/search?"]').getAttribute('href');
  await step.locator('a.do').click();
  const [visit, work] = await openTrace(page, await hrefOf(page, '#trace-link'), 2);
  assert.equal(visit?.name, 'GET /my-view');
  assert.equal(work?.name, 'your code');
  assert.ok(Number(work?.duration) >= 990_000, 'its work took a second');

  assert.equal((await page.goto(searchLink ?? ''))?.status(), 200);
  const found = await searchTraces(urls.jaeger, new URL(page.url()).searchParams);
  assert.ok(found.some(({ traceId }) => traceId === visit?.traceId));
  assert.ok(found.some(({ duration }) => duration >= 500_000));
});

test("a point on the latency panels links to that very request's trace, and to its event if it failed", {
  skip: noBrowser,
}, async (t) => {
  // As Grafana reads it: the variable from its environment, "$$" for "$", the value of the label.
  const { datasources } = parse(
    readFileSync('grafana/provisioning/datasources/prometheus.yml', 'utf8'),
  );
  const destinations: { name: string; url: string }[] =
    datasources[0].jsonData.exemplarTraceIdDestinations;
  const { services } = JSON.parse(await stack.compose('config', '--format', 'json'));
  const linkOf = (labels: Record<string, string>, label: string) =>
    destinations
      .find(({ name }) => name === label)
      ?.url.replace(/\$(?!\$)(\w+)/, (_, name) => services.grafana.environment[name])
      .replace(/\$\$\{__value\.raw\}/, labels[label] ?? '') ?? '';

  /** The points that Grafana has for a panel: it asks for them with the panel's first query. */
  const pointsOn = async (title: string): Promise<Record<string, string>[]> => {
    const panelQuery = panelQueries.find(({ name }) => name.startsWith(`"${title}",`));
    assert.ok(panelQuery, title);
    const { dashboard, target } = panelQuery;
    const values = { ...variables(dashboard), ...intervals(dashboard, dataSourceOf(panelQuery)) };
    const now = Date.now() / 1000;
    const parameters = new URLSearchParams({
      query: fillIn(target.expr, values),
      start: String(now - 120),
      end: String(now + 60),
    });
    const { data } = await getJson(`${urls.prometheus}/api/v1/query_exemplars?${parameters}`);
    return data.flatMap(({ exemplars }: Json) => exemplars).map(({ labels }: Json) => labels);
  };
  const page = await (await launchBrowser(t)).newPage();

  for (const { path, panel, other, labels, spans } of [
    {
      path: '/my-view?seconds=0.2',
      panel: 'Response time',
      other: 'Response time of failed requests',
      labels: ['trace_id'],
      spans: 2,
    },
    {
      path: '/trigger-error/',
      panel: 'Response time of failed requests',
      other: 'Response time',
      labels: ['event_uuid', 'trace_id'],
      spans: 1,
    },
  ]) {
    const response = await fetch(urls.app + path);
    const traceId = response.headers.get('x-trace-id') ?? '';
    const of = (points: Record<string, string>[]) =>
      points.find(({ trace_id }) => trace_id === traceId);
    const point = await eventually(async () => {
      const found = of(await pointsOn(panel));
      assert.ok(found, `${panel} has the point of ${path}`);
      return found;
    }, 30);
    assert.equal(of(await pointsOn(other)), undefined, `${other} has it not`);
    // A panel's points all have the same labels: what has none would have a link to nowhere.
    for (const some of await pointsOn(panel)) assert.deepEqual(Object.keys(some).sort(), labels);

    const [span] = await openTrace(page, linkOf(point, 'trace_id'), spans);
    assert.equal(span?.traceId, traceId);
    if (!point.event_uuid) continue;
    assert.equal(span?.tags['sentry.event_id'], point.event_uuid);
    await openEvent(page, linkOf(point, 'event_uuid'));
    await page.getByText(point.event_uuid).first().waitFor();
    await page.getByText(traceId).first().waitFor();
  }
});

test('no transaction counts as lost', async () => {
  const lost = 'sum(sentry_events_lost_total{category="transaction"}) or vector(0)';
  assert.equal(await queryValue(urls.prometheus, lost), 0);
});
