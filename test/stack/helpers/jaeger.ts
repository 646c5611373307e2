import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after } from 'node:test';
import { eventually } from '../../helpers/eventually.ts';
import { freePort } from '../../helpers/free-port.ts';
import { docker } from './compose.ts';
import { getJson, type Json } from './services.ts';

export interface JaegerSpan {
  traceId: string;
  spanId: string;
  parent?: { traceId: string; spanId: string };
  name: string;
  /** Microseconds. */
  start: number;
  duration: number;
  tags: Record<string, unknown>;
  service: string;
  serviceTags: Record<string, unknown>;
}

const tagsOf = (tags: Json[]) => Object.fromEntries(tags.map(({ key, value }) => [key, value]));

/** The spans of an answer of Jaeger's API, each trace's root first. */
function spansOf({ data }: Json): JaegerSpan[] {
  const spans: JaegerSpan[] = data.flatMap((trace: Json) =>
    trace.spans.map((span: Json) => {
      const [reference] = span.references;
      const { serviceName, tags } = trace.processes[span.processID];
      return {
        traceId: span.traceID,
        spanId: span.spanID,
        ...(reference && { parent: { traceId: reference.traceID, spanId: reference.spanID } }),
        name: span.operationName,
        start: span.startTime,
        duration: span.duration,
        tags: tagsOf(span.tags),
        service: serviceName,
        serviceTags: tagsOf(tags),
      };
    }),
  );
  return spans.sort((a, b) => a.start - b.start);
}

/** All spans of a trace, once there are as many as `count`. */
export function traceOf(jaeger: string, traceId: string, count: number): Promise<JaegerSpan[]> {
  return eventually(async () => {
    const spans = spansOf(await getJson(`${jaeger}/api/traces/${traceId}`));
    assert.equal(spans.length, count, `spans of ${traceId}`);
    return spans;
  }, 30);
}

/** What Jaeger's search finds with the parameters of its page. */
export async function searchTraces(
  jaeger: string,
  parameters: URLSearchParams,
): Promise<JaegerSpan[]> {
  return spansOf(await getJson(`${jaeger}/api/traces?${parameters}`));
}

/** The stack's Jaeger in a container of its own, which a test may stop. It is removed at the end. */
export async function startJaeger(image: string) {
  const [query, otlp] = [await freePort(), await freePort()];
  const id = await docker([
    'run',
    '--detach',
    '--read-only',
    '--tmpfs=/tmp',
    `--volume=${resolve('jaeger')}:/etc/jaeger:ro`,
    '--env=JAEGER_LISTEN_HOST=0.0.0.0',
    '--env=OTEL_TRACES_SAMPLER=always_off',
    `--publish=127.0.0.1:${query}:16686`,
    `--publish=127.0.0.1:${otlp}:4318`,
    '--entrypoint=sh',
    image,
    '/etc/jaeger/start.sh',
  ]);
  after(() => docker(['rm', '--force', '--volumes', id]));
  const url = `http://127.0.0.1:${query}`;
  // Asked in the container. From outside, the engine takes connections before there is a Jaeger.
  const health = 'wget -q -Y off -O /dev/null http://127.0.0.1:13133/status';
  const isThere = () => eventually(() => docker(['exec', id, ...health.split(' ')]), 30);
  await isThere();
  return {
    url,
    endpoint: `http://127.0.0.1:${otlp}/v1/traces`,
    isThere,
    /** Runs `docker pause`, `stop` or the like on it. */
    run: (command: 'pause' | 'unpause' | 'stop' | 'start') => docker([command, id]),
  };
}
