import * as http from 'node:http';
import * as https from 'node:https';
import * as tls from 'node:tls';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import * as Sentry from '@sentry/node';

export type TransportOptions = Parameters<typeof Sentry.makeNodeTransport>[0];

export interface Answer {
  statusCode: number;
  headers: { 'retry-after': string | null; 'x-sentry-rate-limits': string | null };
}

/** Connections to the tracker, which is also how many requests are under way at most. */
export const CONNECTIONS = 10;
/** Milliseconds from the moment a request is made to the last byte of its answer. */
const DEADLINE = 10_000;
/** Bytes above which a body is compressed: as the SDK does it. */
const WORTH_COMPRESSING = 32 * 1024;
const compress = promisify(gzip);

/** What should be a proxy's address, and is no address. The message is meant for the operator. */
export class ProxyError extends Error {}

/**
 * Makes the function that posts one envelope. It is not the SDK's: that one takes the time between
 * two bytes for a timeout, and behind a proxy knows neither that nor a limit of connections.
 *
 * @throws {ProxyError} if the environment names a proxy, but not by its address.
 */
export function makePost(options: TransportOptions): (body: Buffer) => Promise<Answer> {
  const url = new URL(options.url);
  const isSecure = url.protocol === 'https:';
  const native = isSecure ? https : http;
  const agent = new native.Agent({ keepAlive: true, maxSockets: CONNECTIONS, timeout: 2_000 });
  const proxy = proxyFor(url, options.proxy);
  if (proxy)
    agent.createConnection = tunnelThrough(proxy, isSecure) as typeof agent.createConnection;

  const send = (body: Buffer, headers: http.OutgoingHttpHeaders): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const ca = options.caCerts;
      const request = native.request(url, { method: 'POST', agent, headers, ...(ca && { ca }) });
      limitTime(request);
      let answer: Answer | undefined;
      let failure: NodeJS.ErrnoException = new Error('the connection was closed without an answer');
      request.on('response', (response) => {
        const header = (name: string) => response.headers[name]?.toString() ?? null;
        answer = {
          statusCode: response.statusCode ?? 0,
          headers: {
            'retry-after': header('retry-after'),
            'x-sentry-rate-limits': header('x-sentry-rate-limits'),
          },
        };
        // The connection is free only when the whole answer was read. What it says does not matter.
        response.resume().on('error', () => {});
      });
      request.on('error', (error) => {
        failure = error;
      });
      // The only event that comes in any case, and the last.
      request.on('close', () => {
        if (answer) resolve(answer);
        // The tracker may close a kept connection just when it is used again.
        else if (request.reusedSocket && failure.code === 'ECONNRESET')
          resolve(send(body, headers));
        else reject(failure);
      });
      request.end(body);
    });

  return async (body) => {
    const isLarge = body.length > WORTH_COMPRESSING;
    const content = isLarge ? await compress(body) : body;
    const headers = { ...options.headers, ...(isLarge && { 'content-encoding': 'gzip' }) };
    return Sentry.suppressTracing(() => send(content, headers));
  };
}

/** `setTimeout` of a request would only limit the time between two bytes. */
function limitTime(request: http.ClientRequest): void {
  const timer = setTimeout(() => {
    request.destroy(new Error(`no answer in ${DEADLINE / 1000} seconds`));
  }, DEADLINE);
  request.once('connect', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
}

/** The proxy that the environment names for an address, in the variables that the SDK reads. */
function proxyFor({ protocol, host, hostname }: URL, option?: string): URL | undefined {
  const { http_proxy, https_proxy, no_proxy = '' } = process.env;
  // The SDK takes any end of a name: `app` would exempt `sentry.example.app`, too.
  const isExempt = no_proxy.split(',').some((entry) => {
    const name = entry.trim().replace(/^\*?\./, '');
    return [host, hostname, '*'].includes(name) || (name && hostname.endsWith(`.${name}`));
  });
  if (isExempt) return undefined;
  const proxies = {
    'the option proxy': option,
    https_proxy: protocol === 'https:' ? https_proxy : undefined,
    http_proxy,
  };
  for (const [name, address] of Object.entries(proxies)) {
    if (!address) continue;
    try {
      const proxy = new URL(address);
      decodeURIComponent(proxy.username + proxy.password);
      if (/^https?:$/.test(proxy.protocol)) return proxy;
    } catch {}
    // The value is not repeated: there may be a password in it.
    throw new ProxyError(
      `${name} has no address of a proxy, but takes http://USER:PASSWORD@HOST:PORT ` +
        '(with %25 for a % in the password) or http://HOST:PORT.',
    );
  }
  return undefined;
}

/** Makes connections through a proxy, for an agent. */
function tunnelThrough(proxy: URL, isSecure: boolean) {
  const { request } = proxy.protocol === 'https:' ? https : http;
  const user = [proxy.username, proxy.password].map(decodeURIComponent).join(':');
  const login = `Basic ${Buffer.from(user).toString('base64')}`;
  const headers = proxy.username ? { 'proxy-authorization': login } : {};

  return (
    options: tls.ConnectionOptions,
    callback: (error: Error | null, socket?: unknown) => void,
  ): void => {
    const host = options.host?.includes(':') ? `[${options.host}]` : options.host;
    const path = `${host}:${options.port}`;
    const connect = request(proxy, { method: 'CONNECT', path, headers, agent: false });
    limitTime(connect);
    connect.on('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) {
        // The path is the request's, and no socket's.
        callback(null, isSecure ? tls.connect({ ...options, socket, path: undefined }) : socket);
      } else {
        socket.destroy();
        callback(new Error(`the proxy answered ${statusCode}`));
      }
    });
    connect.on('error', (error) => callback(error));
    connect.end();
  };
}
