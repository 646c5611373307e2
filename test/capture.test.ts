import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Answer, type Case, startCases } from './helpers/cases.ts';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { eventIdOn } from './helpers/event-id.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { faults, startTracker } from './helpers/tracker.ts';

const PAGE = 'docs/sentry.md';
const FAILING_SERVER = 'test/fixtures/failing-server.js';

/** A row of the page's first table, and the cases of the conformance server that are of its kind. */
interface Row {
  what: string;
  cases: string[];
  /** 0 if the connection was cut; 400 stands for every 4xx. */
  status: number;
  /** In each request. */
  events: number;
  /** Whether the answer has the event's id. */
  isShown?: true;
}

const each = (before: string, names: unknown[], after = '') =>
  names.map((name) => `${before}${name}${after}`);

const ROWS: Row[] = [
  {
    what: 'an error that is answered with a 5xx, wherever it was thrown',
    cases: [
      ...each('thrown in ', ['a handler', 'an async handler', 'a parser']),
      ...each('thrown in ', ['onRequest', 'preParsing', 'preValidation', 'preHandler']),
      ...each('thrown in ', ['preSerialization', 'onSend', 'toJSON', 'a serializer']),
      ...each('thrown in ', ['the error handler', 'a not found handler']),
      ...each('thrown with status ', [200, 302, 700, 'ENOENT']),
      'sent by a handler',
      'called back by a hook',
      'thrown after a body',
      'thrown with a cause',
      'a stream that fails before the headers',
      'thrown beside a span',
      'thrown where the application uses our names',
    ],
    status: 500,
    events: 1,
    isShown: true,
  },
  {
    what: 'an error that is answered with a 4xx, whoever chose that',
    cases: [
      ...each('a 404 by ', ['statusCode', 'status', 'reply code', 'a thrown Response']),
      ...[
        'a 404 by callNotFound',
        'a 404 by an error handler',
        'a 404 in a hook',
        'a query that the schema refuses',
      ],
      ...['a body that is no JSON', 'a body of an unknown type'],
    ],
    status: 400,
    events: 0,
  },
  {
    what: 'an error that asks for a 404 and is answered with 502',
    cases: ['a 404 that is answered with 502'],
    status: 502,
    events: 1,
  },
  {
    what: 'an error that the application has captured itself, and then thrown',
    cases: ['captured and then thrown', 'captured and then thrown after a span'],
    status: 500,
    events: 1,
    isShown: true,
  },
  {
    what: 'one error object that several requests meet',
    cases: each(
      'the same ',
      ['object', 'frozen object', 'object captured', 'promise'],
      ' in another request',
    ),
    status: 500,
    events: 1,
    isShown: true,
  },
  {
    what: 'an error after `reply.send()` or `reply.hijack()`',
    cases: [
      ...each('thrown ', ['after reply send', 'at once after reply send', 'after reply hijack']),
      ...['thrown after reply hijack without an answer', 'thrown in onResponse'],
      ...each(
        'thrown in ',
        ['the error handler', 'the error handler of a route', 'a not found handler'],
        ' after its answer',
      ),
    ],
    status: 200,
    events: 1,
  },
  {
    what: 'a stream that fails after the headers',
    cases: [
      ...each('a ', ['Node stream that', 'web stream that', 'Response whose stream'], ' fails'),
      ...['a response by hand that fails', 'a stream that lasts longer than its handler may'],
    ],
    status: 0,
    events: 1,
  },
  {
    what: 'a stream that the visitor leaves',
    cases: ['a stream that the visitor leaves'],
    status: 0,
    events: 0,
  },
  {
    what: 'an upload that the visitor leaves, or work that its `request.signal` ends then',
    cases: ['aborted by the signal of a visitor who left'],
    status: 0,
    events: 0,
  },
  {
    what: 'an error of its own that a handler throws after the visitor has left',
    cases: ['thrown after the visitor left'],
    status: 0,
    events: 1,
  },
  {
    what: 'a handler that takes longer than its `handlerTimeout`, also if `request.signal` ends it',
    cases: ['a handler that times out'],
    status: 503,
    events: 1,
    isShown: true,
  },
  {
    what: 'anything thrown that is no usual error: frozen, a string, `undefined`',
    cases: [
      ...each('thrown is ', ['a frozen error', 'a string', 'undefined', 'null', 'a number']),
      ...each('thrown is ', ['an object', 'a function']),
    ],
    status: 500,
    events: 1,
    isShown: true,
  },
  {
    what: 'an error whose properties throw when they are read',
    cases: [
      ...each(
        'thrown with a ',
        ['statusCode', 'status', 'message', 'stack', 'code', 'headers', 'cause'],
        ' that throws',
      ),
      'thrown is a proxy that refuses to be marked',
    ],
    status: 500,
    events: 1,
    isShown: true,
  },
  {
    what: 'a 500 that the application sends without an error',
    cases: ['a 500 that is sent and not thrown'],
    status: 500,
    events: 0,
  },
];

test(`the table of ${PAGE} has a test for each of its rows`, () => {
  const [, table = ''] =
    /^\| what happens \|.*?\n.*?\n(.*?)\n\n/ms.exec(readFileSync(PAGE, 'utf8')) ?? [];
  const promised = [...table.matchAll(/^\| (.*?) \| .*? \| (\d)/gm)].map(([, ...cells]) => cells);
  assert.deepEqual(
    promised,
    ROWS.map(({ what, events }) => [what, String(events)]),
  );
});

for (const rate of ['1', '0']) {
  test(`what becomes an event, at trace rate ${rate}`, async (t) => {
    const app = await startCases(t, { SENTRY_TRACES_SAMPLE_RATE: rate });
    const answersOf = new Map<string, Answer[]>();
    for (const name of ROWS.flatMap(({ cases }) => cases)) {
      answersOf.set(name, await app.ask(app.caseOf(name)));
    }
    await app.settled();
    const pathOf = ({ request }: { request: { url: string } }) => new URL(request.url).pathname;
    const all = app.sink.items('event');

    for (const row of ROWS) {
      await t.test(row.what, async (t) => {
        for (const name of row.cases) {
          const one = app.caseOf(name);
          const events = all.filter((event) => pathOf(event) === one.path);
          await t.test(name, () => check(row, one, answersOf.get(name) ?? [], events));
        }
      });
    }
    await t.test('no other event', () => {
      const paths = [...answersOf.keys()].map((name) => app.caseOf(name).path);
      assert.deepEqual(messages(all.filter((event) => !paths.includes(pathOf(event)))), []);
    });
  });
}

// biome-ignore lint/suspicious/noExplicitAny: what the SDK sends
function check(row: Row, { name, path, method = 'GET' }: Case, answers: Answer[], events: any[]) {
  const statuses = answers.map(({ status }) =>
    row.status === 400 ? status - (status % 100) : status,
  );
  assert.deepEqual(
    statuses,
    answers.map(() => row.status),
  );
  assert.equal(events.length, answers.length * row.events, 'events');
  for (const { traceId, body } of answers) {
    const event = events.find(({ contexts }) => contexts.trace.trace_id === traceId);
    if (row.events && traceId) assert.ok(event, 'an event in the trace of its response');
    if (row.isShown) assert.equal(JSON.parse(body).eventId, event.event_id);
    else assert.doesNotMatch(body, /eventId":"/);
  }
  for (const { exception, transaction } of events) {
    assert.equal(transaction, `${method} ${name.includes('not found') ? 'unmatched' : path}`);
    assert.equal(exception.values.at(-1).mechanism.handled, name.includes('captured'));
  }
}

test('the event of an error that was thrown while another was answered is of the last', async (t) => {
  const app = await startCases(t);
  await app.ask(app.caseOf('thrown in the error handler'));
  await app.settled();
  const events = app.sink.items('event');
  assert.deepEqual(messages(events), ['thrown in the error handler']);
  const [before] = events[0].breadcrumbs;
  assert.equal(before.message, 'mapped', 'the first one is what led to it');
});

test('the causes of an error are in its event', async (t) => {
  const app = await startCases(t);
  await app.ask(app.caseOf('thrown with a cause'));
  await app.settled();
  const [event] = app.sink.items('event');
  assert.deepEqual(
    event.exception.values.map(({ value }: { value: string }) => value),
    ['the cause', 'thrown with a cause'],
  );
});

test('a view that fails is an event, and its id is on the page', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
  const response = await app.get('/fail/view');
  assert.equal(response.status, 500);
  const eventId = eventIdOn(await response.text());
  await app.stop();
  assert.deepEqual(
    sink.items('event').map(({ event_id, transaction }) => [event_id, transaction]),
    [[eventId, 'GET /fail/view']],
  );
});

for (const [what, settings] of Object.entries({
  'an event that beforeSend drops': { BEFORE_SEND: 'drop' },
  'an error that ignoreErrors names': { IGNORE_ERRORS: 'drop' },
})) {
  test(`${what} has no id on the page, and does not arrive`, async (t) => {
    const app = await startCases(t, settings);
    assert.deepEqual(await (await app.get('/drop')).json(), { error: 'ours', eventId: null });
    await app.settled();
    assert.deepEqual(app.sink.items('event'), []);
  });
}

test('an event that beforeSend drops beside another has no id on the page', async (t) => {
  const app = await startCases(t, { BEFORE_SEND: 'drop' });
  const page = await app.get('/drop/beside/a/message');
  assert.deepEqual(await page.json(), { error: 'ours', eventId: null });
  await app.settled();
  const [event, ...others] = app.sink.items('event');
  assert.equal(event.message, 'beside');
  assert.deepEqual(others, []);
});

test('a stream that fails in app.inject is an event, and a 500', async (t) => {
  const app = await startCases(t);
  const { path } = app.caseOf('a Node stream that fails');
  await app.get(`/control/inject?path=${path}`);
  await app.settled();
  assert.deepEqual(messages(app.sink.items('event')), ['a Node stream that fails']);
  const labels = `method="GET",endpoint="${path}",status_code="500"`;
  assert.equal(await app.metric(`http_request_duration_seconds_count{${labels}}`), 1);
});

test('an event that beforeSend drops has no id in the log or the metrics', async (t) => {
  const app = await startCases(t, { BEFORE_SEND: 'drop' });
  await app.get('/drop');
  await app.settled();
  assert.ok(app.log.some(({ msg }) => msg === 'request completed'));
  assert.deepEqual(
    app.log.filter(({ event_id }) => event_id),
    [],
  );
  assert.doesNotMatch(await (await fetch(app.metricsUrl)).text(), /event_uuid/);
});

test('an event that beforeSend holds back for a while has its id on the page', async (t) => {
  const app = await startCases(t, { BEFORE_SEND: 'later' });
  const [answer] = await app.ask(app.caseOf('thrown in a handler'));
  await app.settled();
  const [event] = app.sink.items('event');
  assert.equal(event.tags.before_send, 'later');
  assert.equal(JSON.parse(answer?.body ?? '').eventId, event.event_id);
});

test('without a DSN there is no id on the page', async (t) => {
  const app = await startCases(t, { SENTRY_DSN: '' });
  const [answer] = await app.ask(app.caseOf('thrown in a handler'));
  assert.deepEqual(JSON.parse(answer?.body ?? ''), { error: 'ours', eventId: null });
});

const messages = (events: { exception: { values: { value: string }[] } }[]) =>
  events.map((event) => event.exception.values.at(-1)?.value);

test('an error that refuses to be read or written is answered, logged and reported like any other', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
  const odd = ['message', 'stack', 'name', 'cause', 'code', 'status', 'headers', 'other', 'json'];
  for (const name of ['frozen', 'proxy', 'revoked', 'symbol', 'bare', 'bigint', ...odd]) {
    const response = await app.get(`/fail/odd/${name}`);
    assert.equal(response.status, 500, name);
    const html = await response.text();
    assert.match(html, /id="event-id"/, name);
    assert.doesNotMatch(html, /internal/, name);
  }
  for (const name of ['frozen-client-error', 'client-error-message']) {
    const response = await app.get(`/fail/odd/${name}`);
    assert.equal(response.status, 422, name);
    assert.match(response.headers.get('content-type') ?? '', /^text\/html/, name);
    assert.doesNotMatch(await response.text(), /nobody may read this/, name);
  }
  assert.equal(await app.stop(), 0);
  assert.equal(sink.items('event').length, 15);
  const failed = app.log.filter(({ msg }) => msg === 'request failed');
  assert.equal(failed.length, 15);
  const logged = failed.map(({ err }) => (err as Error | undefined)?.message);
  assert.deepEqual(logged.slice(0, 2), ['internal', 'The message of this error cannot be read.']);
  const reported = messages(sink.items('event'));
  assert.equal(reported.filter((message) => message?.includes('internal')).length, 10);
});

for (const what of ['exception', 'rejection', 'abort', 'frozen']) {
  test(`an ${what} outside of any request is delivered, and ends the process with 1`, async (t) => {
    const sink = await startEnvelopeSink(t);
    const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
    const exit = once(app.child, 'close');
    await app.get(`/fail/outside/${what}`).catch(() => {});
    assert.deepEqual(await exit, [1, null]);
    assert.deepEqual(messages(sink.items('event')), [what]);
    assert.ok(app.log.some(({ level, msg }) => level === 60 && msg.startsWith('unexpected error')));
  });
}

test('errors that come while the process stops are delivered, too', async (t) => {
  const sink = await startEnvelopeSink(t);
  const app = await spawnApp(t, { SENTRY_DSN: sink.dsn }, FAILING_SERVER);
  const exit = once(app.child, 'close');
  const lasting = app.get('/my-view?seconds=1');
  await app.get('/fail/outside/exception').catch(() => {});
  await app.get('/fail/outside/rejection').catch(() => {});
  await app.get('/fail/handler').catch(() => {});
  assert.equal((await lasting).status, 200, 'what was begun is answered');
  assert.deepEqual(await exit, [1, null]);
  assert.deepEqual(messages(sink.items('event')).sort(), ['exception', 'handler', 'rejection']);
});

test('events are sent and accounted for also when something cannot be closed', async (t) => {
  const tracker = await startTracker(t);
  await tracker.fail(faults.never);
  const environment = { SENTRY_DSN: tracker.dsn, FAIL_ON_CLOSE: 'yes' };
  const app = await spawnApp(t, environment, FAILING_SERVER);
  await app.get('/fail/handler');
  assert.equal(await app.stop(), 1);
  assert.ok(app.log.some(({ msg }) => msg === 'events did not reach the tracker'));
});

test('the SDK counts requests for the health of a release by what was reported of them', async (t) => {
  const app = await startCases(t, { WITH_HTTP: 'yes', SENTRY_RELEASE: 'cases@1' });
  // The first is reported by its error handler, and the second when its response has ended.
  const failed = ['thrown in a handler', 'a 404 that is answered with 502'];
  for (const name of [...failed, 'withScope twice at once', 'nothing at all']) {
    await app.ask(app.caseOf(name));
  }
  await app.stop();
  const [{ aggregates }] = app.sink.items('sessions');
  // Asking for the cases was a request, too.
  const [{ started, ...counts }] = aggregates;
  assert.deepEqual(counts, { exited: 2, errored: 1, crashed: 2 });
});
