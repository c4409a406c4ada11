import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { finished, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGunzip, createGzip } from 'node:zlib';
import pLimit, { type LimitFunction } from 'p-limit';
import { type RequestContext, requireScope } from '../../auth/context.ts';
import { Refusal } from '../../kernel/errors.ts';
import { answerRefusals, type HttpExchange, sendJson, sendRefusal, unlessStalled } from '../../kernel/exchange.ts';
import { createPlaces } from '../../kernel/places.ts';
import { exportLines, importChanges } from './service.ts';
import { spool, withSpool } from './spool.ts';

/**
 * A user's changes as a file: `GET /export/sync` and `POST /import/sync`. Each of any size, in memory that does not grow with
 * it; what is not whole is never taken for whole: an export that fails is cut off before its manifest, and an import is
 * one transaction.
 */
interface SyncExchange extends HttpExchange {
  context: RequestContext;
}

export interface ImportLimits {
  /** How long a client may send nothing. */
  stallMs: number;
  /** Of a file, unpacked. */
  mostBytes: number;
}

/** Their files wait on the disk, those that are stored are at the database. */
const mostUploadsAtOnce = 8;
const mostStoredAtOnce = 2;
const longestUploadMs = 3_600_000;
const packedChunkBytes = 256 * 1024;
const ndjson = 'application/x-ndjson';

/** @param stallMs how long a client may read nothing while something waits for it */
export function createExportRoom(stallMs: number) {
  const places = createPlaces({ one: 'export', many: 'exports' });

  async function visit(exchange: SyncExchange): Promise<void> {
    const { viewer } = exchange.context;
    requireScope(viewer, 'sync');
    if (!isMethod(exchange, 'GET')) return;
    await answerRefusals(exchange, () => places.take(viewer.principalId, () => sendExport(exchange, stallMs)));
  }

  return { name: 'export', path: /^\/export\/sync$/, visit };
}

export function createImportRoom(limits: ImportLimits) {
  const places = createPlaces({ one: 'import', many: 'imports' }, mostUploadsAtOnce);
  const storing = pLimit(mostStoredAtOnce);

  async function visit(exchange: SyncExchange): Promise<void> {
    const { viewer } = exchange.context;
    requireScope(viewer, 'sync');
    if (!isMethod(exchange, 'POST')) return;
    if (!isLines(exchange.request)) {
      const expected = `Expected Content-Type ${ndjson}, in UTF-8, as it is or with Content-Encoding gzip.`;
      return sendRefusal(exchange, 415, 'INVALID', expected);
    }
    await answerRefusals(exchange, async () => {
      const imported = await places.take(viewer.principalId, () => receiveImport(exchange, limits, storing));
      // Not before the place is free: whoever has the answer may begin the next one.
      sendJson(exchange.response, 200, imported);
    });
  }

  return { name: 'import', path: /^\/import\/sync$/, visit };
}

function isMethod(exchange: SyncExchange, method: string): boolean {
  if (exchange.request.method === method) return true;
  exchange.response.setHeader('allow', method);
  sendRefusal(exchange, 405, 'INVALID', `Expected ${method}.`);
  return false;
}

async function sendExport(exchange: SyncExchange, stallMs: number): Promise<void> {
  const { request, response, context } = exchange;
  // It holds one page, and reads the next when that has gone on its way.
  const lines = Readable.from(exportLines(context, appsOf(request)), { highWaterMark: 1 });
  try {
    // What goes wrong until here has an answer of its own.
    await once(lines, 'readable');
    const packed = acceptsGzip(request);
    response.appendHeader('vary', 'accept-encoding');
    response.writeHead(200, {
      'content-type': ndjson,
      'content-disposition': 'attachment; filename="treeline-sync.ndjson"',
      'cache-control': 'no-store',
      ...(packed ? { 'content-encoding': 'gzip' } : {}),
    });
    const packing = packed ? [createGzip({ level: constants.Z_BEST_SPEED, chunkSize: packedChunkBytes })] : [];
    const awaitsClient = () => response.writableNeedDrain;
    await unlessStalled(exchange, { stallMs, awaitsClient }, () => pipeline([lines, ...packing, response]));
  } catch (error) {
    if (!response.headersSent) throw error;
    // Cut off: whoever has read until here sees that it is not whole.
    response.destroy();
    // A client that goes away meanwhile is no error of ours.
    if ((error as NodeJS.ErrnoException).code?.startsWith('ERR_STREAM_') !== true) {
      context.log.error({ err: error, requestId: context.requestId }, 'an export was cut off');
    }
  } finally {
    // Until the last statement has ended: the next export of the same user begins after it.
    lines.destroy();
    if (!lines.closed) await new Promise((resolve) => lines.once('close', resolve));
  }
}

/** What `?app=` names, once or more; null: all. */
function appsOf({ url = '/' }: IncomingMessage): string[] | null {
  const apps = new URL(url, 'http://gateway').searchParams.getAll('app');
  return apps.length === 0 ? null : apps;
}

function acceptsGzip({ headers }: IncomingMessage): boolean {
  return String(headers['accept-encoding'] ?? '')
    .split(',')
    .some((accepted) => {
      const [encoding = '', weight = 'q=1'] = accepted.split(';').map((part) => part.trim().toLowerCase());
      return ['gzip', 'x-gzip'].includes(encoding) && Number(weight.replace('q=', '')) > 0;
    });
}

function isLines({ headers }: IncomingMessage): boolean {
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers;
  return (
    /^application\/(x-)?ndjson\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(type) && /^(identity|(x-)?gzip)$/i.test(encoding)
  );
}

async function receiveImport(
  exchange: SyncExchange,
  { stallMs, mostBytes }: ImportLimits,
  storing: LimitFunction,
): Promise<object> {
  const { request, response, context } = exchange;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  if (response.destroyed) gone.abort();
  return withSpool(async (file) => {
    const digested = await unlessStalled(exchange, { stallMs, longestMs: longestUploadMs }, () =>
      unpacked(request, (chunks) => spool(file, chunks, mostBytes)),
    );
    const { changes, stored, known, apps } = await storing(() => importChanges(context, file, digested, gone.signal));
    return {
      changes,
      stored,
      known,
      apps: apps.map((app) => ({ appId: app.app_id, changes: app.changes, schemaVersions: app.schema_versions })),
    };
  });
}

/** @throws Refusal INVALID for what was not packed whole */
async function unpacked<Result>(
  request: IncomingMessage,
  act: (chunks: AsyncIterable<Buffer>) => Promise<Result>,
): Promise<Result> {
  // Left undestroyed, here and by no pipeline: with it would go the socket, and the answer that says why.
  if (!/gzip$/i.test(request.headers['content-encoding'] ?? ''))
    return act(request.iterator({ destroyOnReturn: false }));
  const gunzip = createGunzip({ chunkSize: packedChunkBytes });
  const forget = finished(request, { writable: false }, (error) => void (error != null && gunzip.destroy(error)));
  try {
    return await act(request.pipe(gunzip));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_') !== true) throw error;
    throw new Refusal('INVALID', `The file is no whole gzip: ${message}.`, { cause: error });
  } finally {
    forget();
    request.unpipe(gunzip);
    gunzip.destroy();
  }
}
