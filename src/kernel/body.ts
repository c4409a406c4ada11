import type { IncomingMessage, ServerResponse } from 'node:http';

/** More bytes came than are accepted; nothing after the first byte over was read. */
export class BodyTooLarge extends Error {
  override readonly name = 'BodyTooLarge';
  readonly mostBytes: number;

  constructor(mostBytes: number) {
    super(`more than ${mostBytes} bytes`);
    this.mostBytes = mostBytes;
  }
}

/**
 * Reads a request's body, counting while it reads: a length that a client declares is a promise, not a fact.
 * @throws BodyTooLarge at the first byte over
 */
export async function readChunks(request: IncomingMessage, mostBytes: number): Promise<Buffer[]> {
  if (Number(request.headers['content-length'] ?? 0) > mostBytes) throw new BodyTooLarge(mostBytes);
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Left undestroyed: with it would go the socket, and the answer that says why.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw new BodyTooLarge(mostBytes);
    chunks.push(chunk);
  }
  return chunks;
}

export async function readBody(request: IncomingMessage, mostBytes: number): Promise<string> {
  return Buffer.concat(await readChunks(request, mostBytes)).toString('utf8');
}

const lingerMs = 2_000;

/**
 * Lets a client that still sends read why it need not: a socket that is closed while something comes in loses what went
 * out. What comes is thrown away, for a while.
 */
export function discardRest(request: IncomingMessage): void {
  if (request.complete) return;
  request.resume();
  const impatient = setTimeout(() => request.socket.destroy(), lingerMs);
  impatient.unref();
  request.once('close', () => clearTimeout(impatient));
}

/**
 * Ends a request whose body takes longer to come. Node has one such limit for all requests, and some are of a kind that may
 * take long.
 * @returns a function that lets it
 */
export function endSlowBody(request: IncomingMessage, response: ServerResponse, longestMs: number): () => void {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  if (length === undefined && encoding === undefined) return () => {};
  const late = setTimeout(() => {
    const end = () => void request.socket.destroy();
    if (response.headersSent) end();
    else response.writeHead(408, { connection: 'close' }).end(end);
  }, longestMs);
  late.unref();
  const takeTime = () => clearTimeout(late);
  request.once('close', takeTime);
  return takeTime;
}
