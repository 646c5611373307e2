import assert from 'node:assert/strict';
import { eventIdOn } from '../../helpers/event-id.ts';
import type { Stack } from './compose.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers of other programs, looked into by the tests
export type Json = any;

export async function getJson(url: string, init?: RequestInit): Promise<Json> {
  const response = await fetch(url, init);
  const body = await response.text();
  assert.ok(response.ok, `${url} answered ${response.status}: ${body.slice(0, 500)}`);
  return JSON.parse(body);
}

export function postJson(url: string, body: unknown): Promise<Json> {
  return getJson(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

export interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

/**
 * The result of an instant query: https://prometheus.io/docs/prometheus/latest/querying/api/
 *
 * @param time Unix time; now, if it is left out.
 */
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

/** The value of a query whose result is one sample; undefined if it is none. */
export async function queryValue(
  prometheus: string,
  expression: string,
): Promise<number | undefined> {
  const samples = await query(prometheus, expression);
  assert.ok(samples.length <= 1, `${expression} has ${samples.length} results`);
  return samples[0] && Number(samples[0].value[1]);
}

export async function assertHasData(prometheus: string, expression: string): Promise<void> {
  const samples = await query(prometheus, expression);
  assert.ok(samples.length > 0, `no data: ${expression}`);
  assert.ok(
    samples.some(({ value: [, value] }) => value !== 'NaN'),
    `only NaN: ${expression}`,
  );
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
  text: string;
  html: string;
}

export const mails = (maildev: string): Promise<Mail[]> => getJson(`${maildev}/api/email`);

/** Reads Bugsink's API, with a token that is made for it. */
export async function bugsinkApi({ urls, compose }: Stack) {
  const token = await compose('exec', '-T', 'bugsink', 'bugsink-manage', 'create_auth_token');
  const headers = { authorization: `Bearer ${token.split('\n').at(-1)}` };
  return (path: string): Promise<Json> =>
    getJson(`${urls.bugsink}/api/canonical/0${path}`, { headers });
}

/** Visits /trigger-error/, and resolves to the event id on its page. */
export async function triggerError(app: string): Promise<string> {
  const response = await fetch(`${app}/trigger-error/`);
  const html = await response.text();
  assert.equal(response.status, 500);
  const eventId = eventIdOn(html);
  assert.ok(eventId, 'the page shows an event id');
  return eventId;
}

/** An id of 32 hex digits as Bugsink writes it. */
export const asUuid = (id: string): string =>
  id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
