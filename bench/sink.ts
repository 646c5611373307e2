import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

/** The first envelopes of each project are kept. What follows under load is read and dropped. */
const KEPT = 50;

/** A fake tracker: it accepts everything, and returns what arrived for a project. */
export async function startSink() {
  const projects: string[][] = [];

  const server = createServer(async (request, response) => {
    // A server that is killed hangs up on what it was sending.
    const body = await buffer(request).catch(() => undefined);
    if (!body) return;
    const envelopes = projects[Number(request.url?.split('/')[2]) - 1];
    if (envelopes && envelopes.length < KEPT) {
      const gzipped = request.headers['content-encoding'] === 'gzip';
      envelopes.push(String(gzipped ? gunzipSync(body) : body));
    }
    response.setHeader('content-type', 'application/json').end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    /** The DSN of a new project, and the envelopes that arrive for it. */
    project() {
      const envelopes: string[] = [];
      const id = projects.push(envelopes);
      return { dsn: `http://0123456789abcdef0123456789abcdef@127.0.0.1:${port}/${id}`, envelopes };
    },
  };
}

export type Sink = Awaited<ReturnType<typeof startSink>>;
