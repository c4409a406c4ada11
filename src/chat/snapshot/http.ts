import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type RequestContext, requireScope } from '../../auth/context.ts';
import { readChunks } from '../../kernel/body.ts';
import {
  answerRefusals,
  type HttpExchange,
  type Pace,
  sendJson,
  sendRefusal,
  unlessStalled,
} from '../../kernel/exchange.ts';
import { createPlaces, type Places } from '../../kernel/places.ts';
import { mostDocumentBytes } from './model.ts';
import { getSnapshotDocument, putSnapshotDocument, requireSnapshotRole } from './service.ts';

/**
 * Snapshots as documents of their own, too large to stand among other JSON: `PUT` and `GET /projects/<id>/snapshot`. They
 * pass through as bytes, never parsed here, so that other requests do not wait for it; and two at a time, one of each
 * principal's, so that what is held in memory has a bound.
 */
interface SnapshotExchange extends HttpExchange {
  /** What the path names: an id of a project, not looked at yet. */
  parameters: readonly string[];
  context: RequestContext;
}

interface House {
  places: Places;
  pace: Pace;
}

const mostAtOnce = 2;
const longestTurnMs = 120_000;

/** @param stallMs how long a client may neither send nor read */
export function createSnapshotRoom(stallMs: number) {
  const house: House = {
    places: createPlaces({ one: 'snapshot', many: 'snapshots' }, mostAtOnce),
    pace: { stallMs, longestMs: longestTurnMs },
  };

  async function visit(exchange: SnapshotExchange): Promise<void> {
    const { request, response, context } = exchange;
    requireScope(context.viewer, 'chat');
    const act = { GET: get, PUT: put }[request.method ?? ''];
    if (act === undefined) {
      response.setHeader('allow', 'GET, PUT');
      return sendRefusal(exchange, 405, 'INVALID', 'Expected GET or PUT.');
    }
    await answerRefusals(exchange, () => act(exchange, house));
  }

  return { name: 'snapshot', path: /^\/projects\/([^/]+)\/snapshot$/, visit };
}

async function put(exchange: SnapshotExchange, { places, pace }: House): Promise<void> {
  const { request, response, parameters, context } = exchange;
  if (!isPlainJson(request)) {
    return sendRefusal(exchange, 415, 'INVALID', 'Expected Content-Type application/json, in UTF-8, not compressed.');
  }
  // Before the first byte is kept, and before others wait: whoever may not write cannot make us read.
  const key = await requireSnapshotRole(context, parameters[0] ?? '', ['owner', 'editor']);
  const snapshot = await places.take(context.viewer.principalId, async () => {
    const chunks = await unlessStalled(exchange, pace, () => readChunks(request, mostDocumentBytes));
    return putSnapshotDocument(context, key, chunks);
  });
  context.feed.ring();
  sendJson(response, 200, {
    sizeBytes: snapshot.bytes,
    createdAt: snapshot.created_at,
    updatedAt: snapshot.updated_at,
  });
}

function isPlainJson({ headers }: IncomingMessage): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers;
  return /^application\/json\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(type) && encoding.toLowerCase() === 'identity';
}

async function get(exchange: SnapshotExchange, { places, pace }: House): Promise<void> {
  const { response, parameters, context } = exchange;
  const key = await requireSnapshotRole(context, parameters[0] ?? '', ['owner', 'editor', 'viewer']);
  await places.take(context.viewer.principalId, async () => {
    const pieces = await getSnapshotDocument(context, key);
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
    // A client that goes away meanwhile is no error of ours.
    await unlessStalled(exchange, pace, () => pipeline(Readable.from(pieces), response)).catch(() =>
      response.destroy(),
    );
  });
}
