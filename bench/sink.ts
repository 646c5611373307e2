import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';

/** The first envelopes of each project. The flood that follows under load is read and dropped. */
const KEPT = 50;

/** A fake tracker: it answers SDKs as Sentry does, and tells what arrived for a project. */
export async function startSink() {
  const projects = new Map<string, string[]>();

  const server = createServer(async (request, response) => {
    // A server that is killed hangs up on what it was sending.
    const body = await buffer(request).catch(() => undefined);
    if (!body) return;
    const [, , project = ''] = request.url?.split('/') ?? [];
    const envelopes = projects.get(project);
    if (envelopes && envelopes.length < KEPT) {
      const gzipped = request.headers['content-encoding'] === 'gzip';
      envelopes.push(String(gzipped ? gunzipSync(body) : body));
    }
    response.setHeader('content-type', 'application/json').end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  return {
    /** A DSN whose project nobody has reported to yet, and the envelopes that arrive for it. */
    project() {
      const id = String(projects.size + 1);
      const envelopes: string[] = [];
      projects.set(id, envelopes);
      return { dsn: `http://0123456789abcdef0123456789abcdef@127.0.0.1:${port}/${id}`, envelopes };
    },
  };
}

export type Sink = Awaited<ReturnType<typeof startSink>>;
