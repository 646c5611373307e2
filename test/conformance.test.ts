/** The SDK's own Fastify integration and src/monitoring, in one application, with the same requests. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { startEnvelopeSink } from './helpers/envelope-sink.ts';
import { spawnApp } from './helpers/spawn-app.ts';
import { type Visit, visit } from './helpers/visit.ts';

const POST = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":1}' };
const CALLER = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };

const CASES: Record<string, Visit & { times?: number }> = {
  ...Object.fromEntries(
    [
      ...['/thrown/text', '/thrown/503', '/error-handler', '/captured', '/crowd/1', '/schema'],
      ...['/hook/onRequest', '/hook/preSerialization', '/hook/onSend', '/open/500', '/open/404'],
      ...['/no/such/page', '/404/status-code', '/404/mapped', '/502', '/break/node', '/break/web'],
      ...['/lost/page', '/untraced', '/timeout', '/traced'],
    ].map((path) => [path, {}]),
  ),
  '/thrown': { times: 2 },
  '/after-body': POST,
  '/leave/gzip': { leaves: true },
  '/leave/aborted': { leaves: true },
  '/sent': { headers: CALLER },
};

/** The rows of the page's table: the requests that show them, and what differs there. */
const ROWS: [string, paths: string, facts: string][] = [
  ['The same error twice in a row', '/thrown', 'events'],
  ['An error that the error handler answers with a 4xx', '/404/mapped /open/404', 'events traces'],
  ['An error with `statusCode` 404 that is answered with a 502', '/502', 'events'],
  ['A stream that breaks after its headers', '/break/node /break/web', 'events traces'],
  ['A client that disconnects', '/leave/gzip', 'traces'],
  [
    'Work that `request.signal` aborts when the client disconnects',
    '/leave/aborted',
    'events traces',
  ],
  ['A route that answers 404', '/404/status-code', 'traces'],
  ['A not-found handler that fails', '/lost/page', 'events traces'],
  ['`config: { traced: false }`', '/untraced', 'traces'],
  ['A handler that keeps running after its `handlerTimeout`', '/timeout', 'traces'],
  ['`traceparent` without `sentry-trace`', '/sent', 'traces'],
  ['What is in a trace', '/traced', 'spans attributes'],
];

async function factsOf(t: TestContext, environment: Record<string, string>) {
  const sink = await startEnvelopeSink(t);
  const settings = { SENTRY_DSN: sink.dsn, SENTRY_TRACES_SAMPLE_RATE: '1', ...environment };
  const app = await spawnApp(t, settings, 'test/fixtures/monitored/server.js');
  for (const [path, { times = 1, ...options }] of Object.entries(CASES)) {
    for (let i = 0; i < times; i++) await visit(app.url + path, options);
    // A different error, because the SDK drops one that equals the one before.
    await visit(`${app.url}/view`);
  }
  // What is captured long after the response.
  await sleep(1_500);
  await app.stop();

  const without = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll(app.url, ''));
  return (path: string): Record<string, unknown> => {
    const of = (type: string) => sink.items(type).filter(({ user }) => user?.id === path);
    const traces = of('transaction');
    return without({
      events: of('event').map(({ user, tags, breadcrumbs, request, transaction, exception }) => ({
        ...{ user, tags, request, transaction },
        breadcrumbs: breadcrumbs.map(({ message }: { message: string }) => message),
        exception: exception.values.map(({ type, value, mechanism }: Exception) => [
          ...[type, value, mechanism.handled],
        ]),
      })),
      traces: traces.map(({ transaction, contexts }) => [
        ...[transaction, contexts.trace.op, contexts.trace.status],
        contexts.trace.parent_span_id !== undefined,
      ]),
      ...(path === '/traced' && {
        spans: traces[0].spans.map(({ description }: { description: string }) => description),
        attributes: Object.keys(traces[0].contexts.trace.data).sort(),
      }),
    });
  };
}

interface Exception {
  type: string;
  value: string;
  mechanism: { handled: boolean };
}

test("what differs from the SDK's own integration is what the page says", async (t) => {
  const [sdk, own] = [await factsOf(t, { SDK_ALONE: 'yes' }), await factsOf(t, {})];
  const seen = Object.keys(CASES).flatMap((path) => {
    const [one, other] = [sdk(path), own(path)];
    const facts = Object.keys(one).filter((fact) => !isDeepStrictEqual(one[fact], other[fact]));
    return facts.map((fact) => `${path} ${fact}`);
  });
  const expected = ROWS.flatMap(([, paths, facts]) =>
    paths.split(' ').flatMap((path) => facts.split(' ').map((fact) => `${path} ${fact}`)),
  );
  assert.deepEqual(seen.sort(), expected.sort());

  const page = readFileSync('docs/your-own-application.md', 'utf8');
  const [, section = ''] = page.split("## Differences from the SDK's own integration\n");
  const table = /^\|.*?\n(?!\|)/ms.exec(section)?.[0] ?? '';
  const rows = [...table.matchAll(/^\| (.*?) \|/gm)].slice(2).map(([, what]) => what);
  assert.deepEqual(
    rows,
    ROWS.map(([what]) => what),
  );
});
