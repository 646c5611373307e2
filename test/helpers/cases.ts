import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEnvelopeSink } from './envelope-sink.ts';
import { open } from './raw.ts';
import { spawnApp } from './spawn-app.ts';

export const CONFORMANCE_SERVER = 'test/fixtures/conformance/server.js';

/** A route of test/fixtures/conformance/cases.js, and how it is asked for. */
export interface Case {
  name: string;
  path: string;
  method?: string;
  headers?: Record<string, string>;
  /** The body, in pieces that arrive one after the other. */
  chunks?: string[];
  type?: string;
  times?: number;
  /** The test hangs up as soon as something comes back. */
  hangsUp?: boolean;
  /** The server hangs up. */
  isCut?: boolean;
  /** What is thrown does harm to whoever looks at it. */
  isHostile?: boolean;
}

export interface Answer {
  /** 0 if the connection ended before the answer was complete. */
  status: number;
  body: string;
  traceId: string | null;
}

/** Starts the application of all cases, and a tracker for it, and the service that it calls. */
export async function startCases(t: TestContext, environment: Record<string, string> = {}) {
  const sink = await startEnvelopeSink(t);
  const upstream = await startUpstream(t);
  const app = await spawnApp(
    t,
    { SENTRY_DSN: sink.dsn, UPSTREAM: upstream.url, ...environment },
    CONFORMANCE_SERVER,
  );
  const control = async (what: string) => {
    const response = await app.get(`/control/${what}`);
    const body = await response.text();
    if (!response.ok) throw new Error(`/control/${what} answered ${response.status} ${body}`);
    return body;
  };
  const cases: Case[] = JSON.parse(await control('cases'));

  return {
    ...app,
    sink,
    upstream,
    cases,
    control,
    caseOf(name: string): Case {
      const found = cases.find((one) => one.name === name);
      if (!found) throw new Error(`test/fixtures/conformance/cases.js has no case "${name}"`);
      return found;
    },
    ask: (one: Case) => ask(app.url, one),
    /** Waits until everything was done and sent, also what came after the answers. */
    settled: async (): Promise<{ leaked: string | null }> => JSON.parse(await control('settled')),
  };
}

/** Asks for a case, as often as it wants to be asked for. */
async function ask(url: string, one: Case): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let n = 0; n < (one.times ?? 1); n++) {
    answers.push(await (one.hangsUp ? hangUpOn(url, one) : askOnce(url, one)));
  }
  return answers;
}

async function askOnce(url: string, one: Case): Promise<Answer> {
  const { method = 'GET', path, headers, chunks, type } = one;
  try {
    const response = await fetch(url + path, {
      method,
      headers: { ...headers, ...(type && { 'content-type': type }) },
      ...(chunks && { body: inPieces(chunks), duplex: 'half' as const }),
      // One that is never answered fails by its own name.
      signal: AbortSignal.timeout(10_000),
    });
    const traceId = response.headers.get('x-trace-id');
    const body = await response.text().catch(() => undefined);
    return body === undefined
      ? { status: 0, body: '', traceId }
      : { status: response.status, body, traceId };
  } catch {
    return { status: 0, body: '', traceId: null };
  }
}

function inPieces(chunks: string[]): ReadableStream {
  const source = (async function* () {
    for (const chunk of chunks) {
      yield Buffer.from(chunk);
      // So that the rest comes with a packet of its own, when the request is long under way.
      await sleep(10);
    }
  })();
  return ReadableStream.from(source) as ReadableStream;
}

async function hangUpOn(url: string, { path, headers = {} }: Case): Promise<Answer> {
  const { socket, answer } = open(url);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n${lines.join('')}\r\n`);
  await once(socket, 'data');
  socket.destroy();
  await answer;
  return { status: 0, body: '', traceId: null };
}

/** A service that answers with the trace headers it was called with. */
async function startUpstream(t: TestContext) {
  const server = createServer(({ headers }, response) => {
    const { 'sentry-trace': sentryTrace, baggage } = headers;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ 'sentry-trace': sentryTrace, baggage }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/` };
}
