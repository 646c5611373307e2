import { compose } from './compose.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers of other programs, looked into by the tests
type Json = any;

export async function getJson(url: string, init?: RequestInit): Promise<Json> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.json();
}

export interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

/** The result of an instant query: https://prometheus.io/docs/prometheus/latest/querying/api/ */
export async function query(prometheus: string, expression: string): Promise<Sample[]> {
  const parameters = new URLSearchParams({ query: expression });
  const { data } = await getJson(`${prometheus}/api/v1/query?${parameters}`);
  return data.result;
}

/** The value of a query whose result is one sample; undefined if it is none. */
export async function queryValue(
  prometheus: string,
  expression: string,
): Promise<number | undefined> {
  const samples = await query(prometheus, expression);
  if (samples.length > 1) throw new Error(`${expression} has ${samples.length} results`);
  return samples[0] && Number(samples[0].value[1]);
}

export interface Mail {
  subject: string;
  from: { address: string }[];
  to: { address: string }[];
  text: string;
  html: string;
}

export const mails = (maildev: string): Promise<Mail[]> => getJson(`${maildev}/api/email`);

export async function deleteMails(maildev: string): Promise<void> {
  await fetch(`${maildev}/api/email/all`, { method: 'DELETE' });
}

/** Reads Bugsink's API, with a token that is made for it. */
export async function bugsinkApi(bugsink: string) {
  const token = await compose('exec', '-T', 'bugsink', 'bugsink-manage', 'create_auth_token');
  const headers = { authorization: `Bearer ${token.split('\n').at(-1)}` };
  return (path: string): Promise<Json> => getJson(`${bugsink}/api/canonical/0${path}`, { headers });
}
