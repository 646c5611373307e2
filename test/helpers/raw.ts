import { connect, type Socket } from 'node:net';

/** A connection, and what came back over it when it is closed. */
export function open(url: string): { socket: Socket; answer: Promise<string> } {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  // A server may hang up on what these tests send.
  socket.on('error', () => {});
  const answer = new Promise<string>((resolve) => {
    socket.once('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
  });
  return { socket, answer };
}

/** Sends a request, waits for the response, and hangs up. */
export function ask(url: string, request: string): Promise<string> {
  const { socket, answer } = open(url);
  socket.write(request);
  socket.once('data', () => socket.end());
  return answer;
}

/** Sends bytes as they are, and closes its side of the connection at once. */
export function sendRaw(url: string, bytes: string | Uint8Array): Promise<string> {
  const { socket, answer } = open(url);
  socket.end(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  return answer;
}

/** The statuses of all answers on a connection, in their order. */
export function statusesOf(answer: string): number[] {
  return [...answer.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));
}
