import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:http2';

export interface Visit {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** Hangs up while the response is sent, or before. */
  leaves?: boolean;
}

/** The answer to a request over HTTP/1 or HTTP/2. Its status is 0 if the connection was cut. */
export async function visit(url: string, options: Visit = {}, isHttp2 = false) {
  const answer = { status: 0, traceId: '', body: '' };
  try {
    const { status, headers, body } = await (isHttp2 ? overHttp2 : overHttp1)(url, options);
    answer.traceId = String(headers['x-trace-id']);
    for await (const chunk of body) answer.body += chunk;
    answer.status = Number(status);
  } catch {}
  return answer;
}

export type Answer = Awaited<ReturnType<typeof visit>>;

/** Milliseconds until a visitor leaves. */
const PATIENCE = 150;

async function overHttp1(url: string, { body, leaves, ...options }: Visit) {
  const message = request(url, { agent: false, ...options });
  message.on('error', () => {}).end(body);
  if (leaves) setTimeout(() => message.destroy(), PATIENCE);
  const [response] = (await once(message, 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: response };
}

async function overHttp2(url: string, { method = 'GET', headers, body, leaves }: Visit) {
  const { origin, pathname, search } = new URL(url);
  const session = connect(origin);
  const stream = session.request({ ':method': method, ':path': pathname + search, ...headers });
  stream.once('close', () => session.close()).end(body);
  if (leaves) setTimeout(() => stream.destroy(new Error('left')), PATIENCE);
  const [answer] = await once(stream, 'response');
  return { status: answer[':status'], headers: answer, body: stream };
}
