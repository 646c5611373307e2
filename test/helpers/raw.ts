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
