import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type RequestContext, requireScope } from '../../auth/context.ts';
import { BodyTooLarge, discardRest, readChunks } from '../../kernel/body.ts';
import { Refusal, type RefusalCode, RequestError } from '../../kernel/errors.ts';
import { mostDocumentBytes } from './model.ts';
import { getSnapshotDocument, putSnapshotDocument, requireSnapshotRole } from './service.ts';

/**
 * Snapshots as documents of their own, too large to stand among other JSON: `PUT` and `GET /projects/<id>/snapshot`. They
 * pass through as bytes, never parsed here, so that other requests do not wait for it; and two at a time, one of each
 * principal's, so that what is held in memory has a bound.
 */
interface SnapshotExchange {
  request: IncomingMessage;
  response: ServerResponse;
  /** What the path names: an id of a project, not looked at yet. */
  parameters: readonly string[];
  context: RequestContext;
}

interface Turns {
  /** @throws RequestError LIMIT_EXCEEDED when it is not the principal's turn */
  take<Result>(principalId: string, act: () => Promise<Result>): Promise<Result>;
  /** Ends what the client does not get on with. */
  unlessStalled<Result>(request: IncomingMessage, act: () => Promise<Result>): Promise<Result>;
}

const mostAtOnce = 2;
/** However steadily somebody reads or writes: others wait. */
const longestTurnMs = 120_000;

const statuses: Partial<Record<RefusalCode, number>> = { NOT_FOUND: 404, FORBIDDEN: 403, PAYLOAD_TOO_LARGE: 413 };

/** @param stallMs how long a client may neither send nor read */
export function createSnapshotRoom(stallMs: number) {
  const turns = createTurns(stallMs);

  async function visit(exchange: SnapshotExchange): Promise<void> {
    const { request, response, context } = exchange;
    requireScope(context.viewer, 'chat');
    const act = { GET: get, PUT: put }[request.method ?? ''];
    if (act === undefined) {
      response.setHeader('allow', 'GET, PUT');
      return sendRefusal(exchange, 405, 'INVALID', 'Expected GET or PUT.');
    }
    try {
      await act(exchange, turns);
    } catch (error) {
      if (error instanceof BodyTooLarge) {
        sendRefusal(exchange, 413, 'PAYLOAD_TOO_LARGE', `Expected a document of at most ${error.mostBytes} bytes.`, {
          limit: error.mostBytes,
        });
      } else if (error instanceof Refusal) {
        sendRefusal(exchange, statuses[error.code] ?? 400, error.code, error.message, error.details);
      } else {
        if (error instanceof RequestError) response.setHeader('retry-after', '1');
        throw error;
      }
    }
  }

  return { name: 'snapshot', path: /^\/projects\/([^/]+)\/snapshot$/, visit };
}

function createTurns(stallMs: number): Turns {
  const users = new Set<string>();
  return {
    async take(principalId, act) {
      if (users.size >= mostAtOnce || users.has(principalId)) {
        const whose = users.has(principalId) ? 'Another snapshot of yours is' : `${mostAtOnce} snapshots are`;
        throw new RequestError('LIMIT_EXCEEDED', `${whose} on the way already: try again.`);
      }
      users.add(principalId);
      try {
        return await act();
      } finally {
        users.delete(principalId);
      }
    },
    async unlessStalled({ socket }, act) {
      const end = () => void socket.destroy();
      socket.setTimeout(stallMs, end);
      const deadline = setTimeout(end, longestTurnMs);
      try {
        return await act();
      } finally {
        clearTimeout(deadline);
        socket.setTimeout(0);
        socket.removeListener('timeout', end);
      }
    },
  };
}

async function put(exchange: SnapshotExchange, turns: Turns): Promise<void> {
  const { request, response, parameters, context } = exchange;
  if (!isPlainJson(request)) {
    return sendRefusal(exchange, 415, 'INVALID', 'Expected Content-Type application/json, in UTF-8, not compressed.');
  }
  // Before the first byte is kept, and before others wait: whoever may not write cannot make us read.
  const key = await requireSnapshotRole(context, parameters[0] ?? '', ['owner', 'editor']);
  const snapshot = await turns.take(context.viewer.principalId, async () => {
    const chunks = await turns.unlessStalled(request, () => readChunks(request, mostDocumentBytes));
    return putSnapshotDocument(context, key, chunks);
  });
  context.feed.ring();
  send(response, 200, {
    sizeBytes: snapshot.bytes,
    createdAt: snapshot.created_at,
    updatedAt: snapshot.updated_at,
  });
}

function isPlainJson({ headers }: IncomingMessage): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers;
  return /^application\/json\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(type) && encoding.toLowerCase() === 'identity';
}

async function get({ request, response, parameters, context }: SnapshotExchange, turns: Turns): Promise<void> {
  const key = await requireSnapshotRole(context, parameters[0] ?? '', ['owner', 'editor', 'viewer']);
  await turns.take(context.viewer.principalId, async () => {
    const pieces = await getSnapshotDocument(context, key);
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
    // A client that goes away meanwhile is no error of ours.
    await turns.unlessStalled(request, () => pipeline(Readable.from(pieces), response)).catch(() => response.destroy());
  });
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
