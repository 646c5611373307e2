/** The services' own APIs. */
import assert from 'node:assert/strict';
import { eventIdOn } from '../../helpers/event-id.ts';
import { eventually } from '../../helpers/eventually.ts';
import type { Stack } from './compose.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers of other programs, looked into by the tests
export type Json = any;

export async function getJson(url: string, init?: RequestInit): Promise<Json> {
  const response = await fetch(url, init);
  const body = await response.text();
  assert.ok(response.ok, `${url} answered ${response.status}: ${body.slice(0, 500)}`);
  return JSON.parse(body);
}

/** Posts a body as JSON. */
export const post = (url: string, body: unknown) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

export interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

/** The result of an instant query, now or at a Unix time. */
export async function query(
  prometheus: string,
  expression: string,
  time?: number,
): Promise<Sample[]> {
  const parameters = new URLSearchParams({ query: expression });
  if (time !== undefined) parameters.set('time', String(time));
  const { data } = await getJson(`${prometheus}/api/v1/query?${parameters}`);
  return data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result;
}

/** The value of a query whose result is one sample; undefined if there is none. */
export async function queryValue(
  prometheus: string,
  expression: string,
): Promise<number | undefined> {
  const samples = await query(prometheus, expression);
  assert.ok(samples.length <= 1, `${expression} has ${samples.length} results`);
  return samples[0] && Number(samples[0].value[1]);
}

export interface Target {
  labels: { job: string; instance: string };
  health: string;
  lastError: string;
}

export async function targets(prometheus: string): Promise<Target[]> {
  const { data } = await getJson(`${prometheus}/api/v1/targets?state=active`);
  return data.activeTargets;
}

export interface Mail {
  subject: string;
  from: { address: string }[];
  to: { address: string }[];
  html: string;
}

/** The emails in the mailbox whose subject matches. */
export async function mailsAbout(maildev: string, subject: RegExp): Promise<Mail[]> {
  const mails: Mail[] = await getJson(`${maildev}/api/email`);
  return mails.filter((mail) => subject.test(mail.subject));
}

/** Reads Bugsink's API, with a token that is made for it. */
export async function bugsinkApi({ urls, compose }: Stack) {
  const token = await compose('exec', '-T', 'bugsink', 'bugsink-manage', 'create_auth_token');
  const headers = { authorization: `Bearer ${token.split('\n').at(-1)}` };
  return (path: string): Promise<Json> =>
    getJson(`${urls.bugsink}/api/canonical/0${path}`, { headers });
}

/** Visits /trigger-error/, and resolves to the ids on its page. */
export async function triggerError(app: string): Promise<{ eventId: string; traceId: string }> {
  const response = await fetch(`${app}/trigger-error/`);
  const eventId = eventIdOn(await response.text());
  assert.equal(response.status, 500);
  assert.ok(eventId, 'the page shows an event id');
  return { eventId, traceId: response.headers.get('x-trace-id') ?? '' };
}

export interface JaegerSpan {
  name: string;
  isRoot: boolean;
  /** Microseconds. */
  duration: number;
  tags: Record<string, unknown>;
}

/** All spans of a trace, the first one first, once there are `count`. */
export function traceOf(jaeger: string, traceId: string, count: number): Promise<JaegerSpan[]> {
  return eventually(async () => {
    const { data } = await getJson(`${jaeger}/api/traces/${traceId}`);
    const spans: Json[] = data.flatMap((trace: Json) => trace.spans);
    assert.equal(spans.length, count, `spans of ${traceId}`);
    return spans
      .sort((a, b) => a.startTime - b.startTime)
      .map(({ operationName, references, duration, tags }) => ({
        name: operationName,
        isRoot: references.length === 0,
        duration,
        tags: Object.fromEntries(tags.map(({ key, value }: Json) => [key, value])),
      }));
  }, 30);
}
