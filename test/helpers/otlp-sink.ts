import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import type { Answer } from './tracker.ts';

type Value = { stringValue?: string; intValue?: string; doubleValue?: number; boolValue?: boolean };
type KeyValues = { key: string; value: Value }[];

export interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  status: { code?: number };
  attributes: Record<string, unknown>;
  resource: Record<string, unknown>;
}

/** Attributes as an object, with the plain values. */
const fromKeyValues = (attributes: KeyValues) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

/**
 * Takes the place of a collector until the test ends: it keeps the spans that arrive, and checks
 * nothing. What a real one does with them is tested in test/stack.
 */
export async function startOtlpSink(t: TestContext) {
  const spans: OtlpSpan[] = [];
  let answer: Answer | undefined;
  const server = createServer(async (request, response) => {
    const body = await text(request).catch(() => '');
    if (answer) return answer(request, response);
    for (const { resource, scopeSpans } of JSON.parse(body).resourceSpans) {
      for (const { attributes, ...span } of scopeSpans[0].spans) {
        spans.push({
          ...span,
          attributes: fromKeyValues(attributes),
          resource: fromKeyValues(resource.attributes),
        });
      }
    }
    response.setHeader('content-type', 'application/json').end('{"partialSuccess":{}}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;

  return {
    endpoint: `http://127.0.0.1:${port}/v1/traces`,
    spans,
    /** From now on every request is answered like this, or again as a collector does. */
    answerWith(how: Answer | undefined) {
      answer = how;
    },
  };
}
