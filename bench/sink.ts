/**
 * A tracker that takes everything: answers SDKs as Sentry does, and tells what arrived for a project.
 * A process of its own, so that its work is not in the numbers of the server.
 */
import { createServer } from 'node:http';
import { gunzipSync } from 'node:zlib';

interface Envelope {
  body: Buffer;
  gzipped: boolean;
}

/** The first envelopes of each project. The flood that follows under load is read and dropped. */
const KEPT = 50;
const projects = new Map<string, Envelope[]>();

/** The items of an envelope, as the SDK wrote them: a line that has the type, a line of payload. */
function items({ body, gzipped }: Envelope) {
  const [, ...lines] = String(gzipped ? gunzipSync(body) : body)
    .split('\n')
    .filter((line) => line !== '');
  return lines.flatMap((line, i) =>
    i % 2 === 0 ? [{ type: JSON.parse(line).type, payload: lines[i + 1] }] : [],
  );
}

const server = createServer(async (request, response) => {
  const [, api, project = ''] = request.url?.split('/') ?? [];
  response.setHeader('content-type', 'application/json');
  if (api !== 'api') {
    response.end(JSON.stringify((projects.get(api ?? '') ?? []).flatMap(items)));
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);

  const envelopes = projects.get(project) ?? [];
  projects.set(project, envelopes);
  if (envelopes.length < KEPT) {
    const gzipped = request.headers['content-encoding'] === 'gzip';
    envelopes.push({ body: Buffer.concat(chunks), gzipped });
  }
  response.end('{}');
});

server.listen(Number(process.env.PORT), '127.0.0.1');
