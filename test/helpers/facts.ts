/** What reached the tracker, in words that are the same in every run, to compare two servers by. */
import type { Answer, Case } from './cases.ts';
import type { EnvelopeItem } from './envelope-sink.ts';

// biome-ignore lint/suspicious/noExplicitAny: what the SDK sends is what the facts are taken from
type Payload = any;

/** By name; what is said of events or transactions begins with their kind. */
export type Facts = Record<string, string>;

/** The origin of spans that the SDK's Fastify integration makes of hooks and handlers. */
const FRAMEWORK = 'auto.http.fastify';
/** The trace and span of those who call in test/fixtures/conformance/cases.js. */
const CALLER = { traceId: '4bf92f35'.repeat(4), spanId: '00f067aa0ba902b7' };

export function factsOf(
  one: Case,
  answers: Answer[],
  items: EnvelopeItem[],
  leaked: string | null,
): Facts {
  const of = (type: string) => items.filter((item) => item.type === type);
  const events: Payload[] = of('event').map(({ payload }) => payload);
  const transactions: Payload[] = of('transaction').map(({ payload }) => payload);
  events.sort(by(exceptionOf));
  transactions.sort(by(({ transaction }) => transaction));

  const facts: Facts = {
    answer: same(answers.map(({ status, body }) => `${status} ${wordsOf(body, events)}`)),
    ...headerFacts(answers),
    'on the events of others': leaked ?? 'nothing',
    'all in one trace': isOneTrace([...events, ...transactions], answers),
    events: String(events.length),
    transactions: transactions.map(({ transaction }) => transaction).join(', ') || 'none',
  };
  for (const [name, factOf] of Object.entries(eventFacts)) {
    facts[`event: ${name}`] = same(events.map((event) => factOf(event, transactions)));
  }
  for (const [name, factOf] of Object.entries(transactionFacts)) {
    facts[`transaction: ${name}`] = same(transactions.map(factOf));
  }
  facts['transaction: dynamic sampling context'] = same(
    of('transaction').map(({ header }) => samplingContextOf(header.trace)),
  );
  // A row of the table says the same of many cases.
  const general = (fact: string) =>
    fact
      .replaceAll(one.path, 'PATH')
      .replaceAll(encodeURIComponent(one.path), 'PATH')
      .replaceAll(one.name, 'NAME')
      .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'UPSTREAM');
  return Object.fromEntries(Object.entries(facts).map(([name, fact]) => [name, general(fact)]));
}

const eventFacts: Record<string, (event: Payload, transactions: Payload[]) => string> = {
  exception: exceptionOf,
  level: ({ level = 'error' }) => level,
  mechanism: ({ exception }) => {
    const { type, handled } = exception?.values.at(-1).mechanism ?? {};
    return `${type}, ${handled === false ? 'not handled' : 'handled'}`;
  },
  culprit: ({ exception }) => {
    const frames: Payload[] = exception?.values.at(-1).stacktrace?.frames ?? [];
    return frames.findLast(({ in_app }) => in_app)?.function ?? 'none';
  },
  user: ({ user }) => textOf(user, ['ip_address']),
  'address of the user': ({ user }) => (user?.ip_address ? 'yes' : 'no'),
  tags: ({ tags }) => textOf(tags, ['request_id']),
  'extra and contexts': ({ extra, contexts }) => textOf({ ...extra, order: contexts.order }),
  breadcrumbs: ({ breadcrumbs = [] }) =>
    breadcrumbs.map(({ category, message }: Payload) => message ?? category).join(', '),
  request: ({ request: { method, url } = {} as Payload }) =>
    url ? `${method} ${new URL(url).pathname}` : 'none',
  'more of the request': ({ request }) => keysOf(request, ['method', 'url']),
  transaction: ({ transaction }) => String(transaction),
  span: ({ contexts }, transactions) =>
    transactions.flatMap(spansOf).find(({ id }) => id === contexts.trace.span_id)?.name ?? 'none',
};

const transactionFacts: Record<string, (transaction: Payload) => string> = {
  'op and status': ({ contexts: { trace } }) => `${trace.op}, ${trace.status}`,
  'source of the name': ({ transaction_info }) => transaction_info?.source,
  'status code': ({ contexts: { trace } }) =>
    `${trace.data?.['http.response.status_code'] ?? 'none'}`,
  tags: ({ tags }) => textOf(tags, ['request_id']),
  user: ({ user }) => textOf(user, ['ip_address']),
  request: ({ request: { method, url } = {} as Payload }) =>
    url ? `${method} ${new URL(url).pathname}` : 'none',
  parent: ({ contexts: { trace } }) => {
    if (!trace.parent_span_id) return 'none';
    return trace.parent_span_id === CALLER.spanId ? 'the caller' : 'another';
  },
  'sample rate': ({ contexts: { trace } }) => `${trace.data?.['sentry.sample_rate'] ?? 'none'}`,
  spans: (transaction) =>
    spansOf(transaction)
      .filter(({ isOwn }) => isOwn)
      .map(({ name, parent, status }) => `${name} (${status}) in ${parent}`)
      .sort()
      .join(', ') || 'none',
  'spans of hooks and handlers': ({ spans }) =>
    spans.some(({ origin }: Payload) => origin === FRAMEWORK) ? 'yes' : 'no',
};

function exceptionOf({ exception, message }: Payload): string {
  const values: Payload[] = exception?.values ?? [{ type: 'message', value: message }];
  return values.map(({ type, value }) => `${type}: ${value}`).join(', ');
}

function isOneTrace(payloads: Payload[], answers: Answer[]): string {
  const all = payloads.map(({ contexts }) => contexts.trace.trace_id);
  const told = answers.flatMap(({ traceId }) => traceId ?? []);
  // Those who hang up have not seen which.
  const isOne = told.length > 0 ? all.every((id) => told.includes(id)) : new Set(all).size <= 1;
  return isOne ? 'yes' : 'no';
}

/** The headers that an outgoing call carries; some cases answer with them. */
function headerFacts([answer]: Answer[]): Facts {
  if (!answer?.body.includes('"sentry-trace":')) return {};
  const headers = JSON.parse(answer.body);
  const wholeOf = (entry: string) => entry.replace(/^sentry-/, '').replace(HEXADECIMAL, whose);
  return {
    'sentry-trace': headers['sentry-trace'].replace(HEXADECIMAL, whose).replace(/-\w{16}/, '-SPAN'),
    baggage: headers.baggage
      .replace(/(sample_rand=)[\d.]+/, '$1RANDOM')
      .split(',')
      .map(wholeOf)
      .sort()
      .join(', '),
  };
}

const HEXADECIMAL = /[0-9a-f]{32}/;
const whose = (id: string) => (id === CALLER.traceId ? 'THEIRS' : 'OURS');

/** An answer without what is new in every run. */
function wordsOf(body: string, events: Payload[]): string {
  if (body.includes('"sentry-trace":')) return 'trace headers';
  const isEvent = (id: string) => events.some(({ event_id }) => event_id === id);
  return body
    .replace(/a{99,}/, 'aaa')
    .replace(/"eventId":"(\w+)"/, (_, id) => `eventId: ${isEvent(id) ? 'an event' : 'no event'}`);
}

/** https://develop.sentry.dev/sdk/foundations/trace-propagation/dynamic-sampling-context/ */
function samplingContextOf(context: Payload = {}): string {
  const { trace_id, sample_rand, sample_rate, public_key, ...rest } = context;
  return textOf({
    ...rest,
    sample_rate,
    public_key: public_key === undefined ? 'none' : public_key === 'abc' ? 'theirs' : 'ours',
    trace_id: trace_id === CALLER.traceId ? "the caller's" : trace_id && 'ours',
    sample_rand: sample_rand && (Number(sample_rand) < Number(sample_rate) ? 'below' : 'not below'),
  });
}

/** The spans of a transaction; those of hooks and handlers go by the name of what they are in. */
function spansOf({ transaction, contexts, spans }: Payload) {
  const root = { id: contexts.trace.span_id, name: `root of ${transaction}` };
  const known = new Map<string, Payload>(spans.map((span: Payload) => [span.span_id, span]));
  const nameOf = (id: string): string => {
    const span = known.get(id);
    if (!span) return id === root.id ? 'root' : 'none';
    return span.origin === FRAMEWORK ? nameOf(span.parent_span_id) : span.description;
  };
  return [
    { ...root, isOwn: false, parent: '', status: '' },
    ...spans.map(({ span_id, parent_span_id, origin, status }: Payload) => ({
      id: span_id,
      name: nameOf(span_id).replace(/^root$/, root.name),
      parent: nameOf(parent_span_id),
      isOwn: origin !== FRAMEWORK,
      status,
    })),
  ];
}

const by = (key: (payload: Payload) => string) => (a: Payload, b: Payload) =>
  String(key(a)).localeCompare(String(key(b)));

/** One text for many that are the same. */
const same = (texts: string[]) => [...new Set(texts)].join(' + ');

const keysOf = (object: object = {}, without: string[]) =>
  Object.keys(object)
    .filter((key) => !without.includes(key))
    .sort()
    .join(', ') || 'none';

const textOf = (object: object = {}, without: string[] = []) =>
  Object.entries(object)
    .filter(([key, value]) => !without.includes(key) && value !== undefined)
    .map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .sort()
    .join(', ') || 'none';
