import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type RequestContext, requireScope } from '../../auth/context.ts';
import { BodyTooLarge, discardRest, readChunks } from '../../kernel/body.ts';
import { Refusal, type RefusalCode } from '../../kernel/errors.ts';
import { mostDocumentBytes } from './model.ts';
import { getSnapshotDocument, putSnapshotDocument, requireSnapshotWriter } from './service.ts';

/**
 * Snapshots as documents of their own, too large to stand among other JSON: `PUT` and `GET /projects/<id>/snapshot`. They
 * pass through as bytes, never parsed here, so that other requests do not wait for it; and two at a time, so that what is
 * held in memory has a bound.
 */
interface SnapshotExchange {
  request: IncomingMessage;
  response: ServerResponse;
  /** What the path names: an id of a project, not looked at yet. */
  parameters: readonly string[];
  context: RequestContext;
}

const mostAtOnce = 2;

const statuses: Partial<Record<RefusalCode, number>> = { NOT_FOUND: 404, FORBIDDEN: 403, PAYLOAD_TOO_LARGE: 413 };

/** @param stallMs how long a client may neither send nor read */
export function createSnapshotRoom(stallMs: number) {
  let atOnce = 0;

  async function visit(exchange: SnapshotExchange): Promise<void> {
    const { request, response, context } = exchange;
    requireScope(context.viewer, 'chat');
    const act = { GET: get, PUT: put }[request.method ?? ''];
    if (act === undefined) {
      response.setHeader('allow', 'GET, PUT');
      return sendRefusal(exchange, 405, 'INVALID', 'Expected GET or PUT.');
    }
    if (atOnce >= mostAtOnce) {
      response.setHeader('retry-after', '1');
      return sendRefusal(
        exchange,
        503,
        'LIMIT_EXCEEDED',
        `${mostAtOnce} snapshots are on their way already: try again.`,
      );
    }
    atOnce += 1;
    try {
      await act(exchange, stallMs);
    } catch (error) {
      if (error instanceof BodyTooLarge) {
        sendRefusal(exchange, 413, 'PAYLOAD_TOO_LARGE', `Expected a document of at most ${error.mostBytes} bytes.`, {
          limit: error.mostBytes,
        });
      } else if (error instanceof Refusal) {
        sendRefusal(exchange, statuses[error.code] ?? 400, error.code, error.message, error.details);
      } else {
        throw error;
      }
    } finally {
      atOnce -= 1;
    }
  }

  return { name: 'snapshot', path: /^\/projects\/([^/]+)\/snapshot$/, visit };
}

async function put(exchange: SnapshotExchange, stallMs: number): Promise<void> {
  const { request, response, parameters, context } = exchange;
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = request.headers;
  if (!/^application\/json\b/i.test(type) || encoding !== 'identity') {
    return sendRefusal(exchange, 415, 'INVALID', 'Expected a body of Content-Type application/json, not compressed.');
  }
  // Before the first byte is kept: whoever may not write cannot make us read.
  const key = await requireSnapshotWriter(context, parameters[0] ?? '');
  const chunks = await unlessStalled(request, stallMs, () => readChunks(request, mostDocumentBytes));
  const snapshot = await putSnapshotDocument(context, key, chunks);
  context.feed.ring();
  send(response, 200, {
    sizeBytes: snapshot.bytes,
    createdAt: snapshot.created_at,
    updatedAt: snapshot.updated_at,
  });
}

async function get({ request, response, parameters, context }: SnapshotExchange, stallMs: number): Promise<void> {
  const pieces = await getSnapshotDocument(context, parameters[0] ?? '');
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  // A client that goes away meanwhile is no error of ours.
  await unlessStalled(request, stallMs, () => pipeline(Readable.from(pieces), response)).catch(() =>
    response.destroy(),
  );
}

/** While it is the client's turn: how long the database takes is none of its doing. */
async function unlessStalled<Result>(
  { socket }: IncomingMessage,
  stallMs: number,
  act: () => Promise<Result>,
): Promise<Result> {
  const end = () => void socket.destroy();
  socket.setTimeout(stallMs, end);
  try {
    return await act();
  } finally {
    socket.setTimeout(0);
    socket.removeListener('timeout', end);
  }
}

/** As errors look everywhere else: clients read one shape. */
function sendRefusal(
  { request, response }: SnapshotExchange,
  status: number,
  code: string,
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): void {
  send(response, status, { errors: [{ message, extensions: { ...details, code } }] });
  discardRest(request);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
