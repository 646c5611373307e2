import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** What a broken tracker does with a request. */
export const faults = {
  never: (() => {}) as Answer,
  /** A byte a second: of the headers, and of an answer that says how long it is. */
  drip: ((_request, response) => {
    const bytes = 'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n';
    let sent = 0;
    const timer = setInterval(() => response.socket?.write(bytes[sent++] ?? 'x'), 1_000);
    response.socket?.on('close', () => clearInterval(timer));
  }) as Answer,
  garbage: ((_request, response) => {
    response.socket?.end('\0\x01 this is not HTTP\r\n\r\n');
  }) as Answer,
  /** 101, which ends HTTP on this connection. */
  upgrade: ((_request, response) => {
    response.socket?.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n');
    response.socket?.write('Connection: Upgrade\r\n\r\n');
  }) as Answer,
  status:
    (code: number, headers: Record<string, string> = {}): Answer =>
    (_request, response) => {
      response.writeHead(code, headers).end('{}');
    },
};

/**
 * A tracker that can be broken and repaired while it runs. It keeps its port.
 *
 * @param delay milliseconds until it has stored an event.
 */
export async function startTracker(t: TestContext, delay = 0) {
  const delivered = { events: new Set<string>(), transactions: 0, twice: 0 };
  /** Every request, and the most connections that there were at once. */
  const seen = { requests: 0, connections: 0 };
  let headers: Record<string, string> = {};
  let poison: string | undefined;
  let failing = 0;
  let answer: Answer | undefined;

  const server = createServer(async (request, response) => {
    const body = await buffer(request).catch(() => undefined);
    if (!body) return;
    seen.requests += 1;
    if (answer) return answer(request, response);
    if (Math.random() < failing) return faults.status(503)(request, response);
    if (delay > 0) await sleep(delay);
    if (response.destroyed) return;
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    // Only what is counted is read: the tests' load is in this process, too.
    const [header = '', itemHeader = ''] = text.subarray(0, 4096).toString().split('\n', 2);
    const { event_id } = JSON.parse(header);
    const { type } = JSON.parse(itemHeader);
    if (poison && text.includes(poison)) return faults.status(500)(request, response);
    if (type === 'event') {
      if (delivered.events.has(event_id)) delivered.twice += 1;
      delivered.events.add(event_id);
    }
    if (type === 'transaction') delivered.transactions += 1;
    response.writeHead(200, headers).end('{}');
  });
  server.on('connection', () => {
    server.getConnections((_error, count) => {
      seen.connections = Math.max(seen.connections, count);
    });
  });
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const hangUp = async () => {
    if (!server.listening) return;
    const closed = once(server.close(), 'close');
    server.closeAllConnections();
    await closed;
  };
  t.after(hangUp);

  return {
    dsn: `http://0123456789abcdef0123456789abcdef@127.0.0.1:${port}/1`,
    delivered,
    seen,
    port,

    /** From now on every good answer has these headers. */
    answerWith(these: Record<string, string>) {
      headers = these;
    },

    /** From now on it fails on every event that contains this text, and accepts the others. */
    failAt(text: string) {
      poison = text;
    },

    /** From now on it fails on this share of the requests, and accepts the others. */
    failAtSome(share: number) {
      failing = share;
    },

    /** From now on every request is answered like this; "refuse" accepts no connections at all. */
    async fail(how: Answer | 'refuse') {
      if (how === 'refuse') return hangUp();
      answer = how;
      if (!server.listening) await listen(port);
    },

    async repair() {
      answer = undefined;
      if (!server.listening) await listen(port);
    },
  };
}
