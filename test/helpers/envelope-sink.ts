import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';

/** One item of an envelope: https://develop.sentry.dev/sdk/data-model/envelopes/ */
export interface EnvelopeItem {
  type: string;
  /** The header of the envelope that it came in. */
  // biome-ignore lint/suspicious/noExplicitAny: as below
  header: any;
  // biome-ignore lint/suspicious/noExplicitAny: the payloads are what the tests are there to look into
  payload: any;
}

function parseEnvelope(envelope: string): EnvelopeItem[] {
  const [header = '', ...lines] = envelope.split('\n').filter((line) => line !== '');
  const items: EnvelopeItem[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    items.push({
      header: JSON.parse(header),
      type: JSON.parse(lines[i] as string).type,
      payload: JSON.parse(lines[i + 1] as string),
    });
  }
  return items;
}

export type EnvelopeSink = Awaited<ReturnType<typeof startEnvelopeSink>>;

/** Owns a real HTTP address for a DSN until the test ends, and keeps what arrives there. */
export async function startEnvelopeSink(t: TestContext) {
  const items: EnvelopeItem[] = [];
  const raw: string[] = [];

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const text = String(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body);
    raw.push(text);
    items.push(...parseEnvelope(text));
    response.end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;

  return {
    dsn: `http://0123456789abcdef0123456789abcdef@127.0.0.1:${port}/1`,
    raw,
    /** Everything, in the order in which it came. */
    all: items,
    items: (type: string) => items.filter((item) => item.type === type).map((item) => item.payload),
  };
}
