import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Transform, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import {
  type Endpoint,
  GatewayError,
  noGatewayAt,
  noGatewayThatAnswers,
  type SentError,
  toGatewayError,
} from '../client/client.ts';
import { StartupError } from '../kernel/errors.ts';
import { createLineDigest, type DigestedLines } from '../kernel/line-digest.ts';

/**
 * `treeline sync export` and `import`: one's own changes as a file. Not by fetch: that gives up on an answer which takes five
 * minutes to begin, as that to an import of millions may.
 */
export interface Transfer {
  /** `-`: standard output or input. */
  file: string;
  signal: AbortSignal;
}

/** @throws GatewayError also for an export that is not whole; then there is no file */
export async function exportChanges(
  endpoint: Endpoint,
  apps: readonly string[],
  { file, signal }: Transfer,
): Promise<{ changes: number }> {
  const query = apps.length === 0 ? '' : `?${new URLSearchParams(apps.map((app) => ['app', app]))}`;
  const { request, answer } = open(endpoint, `/export/sync${query}`, {
    headers: { 'accept-encoding': 'gzip' },
    signal,
  });
  request.end();
  const response = await answer;
  if (response.headers['content-type'] !== 'application/x-ndjson') {
    parsed(endpoint, response, await text(response));
    throw noGatewayThatAnswers(endpoint.url, response.statusCode);
  }
  const gunzip = response.headers['content-encoding'] === 'gzip' ? [createGunzip()] : [];
  const gzip = file.endsWith('.gz') ? [createGzip()] : [];
  const digest = digesting();
  await written(file, async (target) => {
    await pipeline([response, ...gunzip, digest.through, ...gzip, target]).catch((error: unknown) => {
      signal.throwIfAborted();
      throw isCut(error) ? cutShort(error) : error;
    });
    requireWhole(digest.end());
  });
  return { changes: digest.end().lines };
}

/** Under its own name there is never half a file. */
async function written(file: string, write: (target: Writable) => Promise<void>): Promise<void> {
  if (file === '-') return write(standardOutput());
  // Beside it, or it could not be renamed.
  const part = `${file}.${process.pid}.part`;
  try {
    await write(createWriteStream(part, { flags: 'wx', mode: 0o600, flush: true }));
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** Left open at its end: others may have something to say afterwards. */
function standardOutput(): Writable {
  // What goes wrong with a write is told to the write, too.
  process.stdout.on('error', () => {});
  return new Writable({
    write: (chunk, _encoding, done) =>
      void process.stdout.write(chunk, (error) =>
        done(error && new StartupError(`Standard output was closed before the export was whole (${error.message}).`)),
      ),
  });
}

/** Digests lines on their way. */
function digesting(): { through: Transform; end: () => DigestedLines } {
  const lines = createLineDigest();
  const tell = progressOf();
  let ended: DigestedLines | undefined;
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      lines.add(chunk);
      tell(chunk.length);
      done(null, chunk);
    },
  });
  return {
    through,
    end: () => {
      ended ??= lines.end();
      return ended;
    },
  };
}

/** That they are all here, as they were sent; what they are, the gateway looks at when they are imported. */
function requireWhole({ lines, sha256, lastLine }: DigestedLines): void {
  let manifest: { changes?: unknown; sha256?: unknown } = {};
  try {
    manifest = JSON.parse(lastLine.toString()) as typeof manifest;
  } catch (error) {
    throw cutShort(error);
  }
  if (manifest.changes !== lines || manifest.sha256 !== sha256) throw cutShort();
}

function isCut(error: unknown): boolean {
  const { code = '' } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code.startsWith('Z_');
}

function cutShort(cause?: unknown): GatewayError {
  return new GatewayError('The export was cut short, so nothing of it was kept. Try again.', null, { cause });
}

/** What the gateway says of an import. */
export interface ImportOutcome {
  changes: number;
  stored: number;
  known: number;
}

/** @throws GatewayError for a file that the gateway refuses; then nothing of it is stored */
export async function importChanges(endpoint: Endpoint, { file, signal }: Transfer): Promise<ImportOutcome> {
  const source = file === '-' ? process.stdin : createReadStream(file);
  const chunks = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await chunks.next().catch((error: unknown) => Promise.reject(unreadable(file, error)));
  const packed = first.done !== true && first.value[0] === 0x1f && first.value[1] === 0x8b;
  const { request, answer } = open(endpoint, '/import/sync', {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson', ...(packed ? { 'content-encoding': 'gzip' } : {}) },
    signal,
  });
  try {
    // A gateway that refuses a file does not wait for the rest of it; what then cannot be sent is no error of its own.
    pipeline(whole(first, chunks), request).catch(() => {});
    const response = await answer;
    return parsed(endpoint, response, await text(response)) as ImportOutcome;
  } catch (error) {
    signal.throwIfAborted();
    throw source.errored === null ? error : unreadable(file, source.errored);
  } finally {
    request.destroy();
    source.destroy();
  }
}

function unreadable(file: string, cause: unknown): StartupError {
  return new StartupError(`${file} cannot be read: ${(cause as Error).message}.`, { cause });
}

async function* whole(first: IteratorResult<Buffer>, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer, void> {
  const tell = progressOf();
  for (let next = first; next.done !== true; next = await rest.next()) {
    tell(next.value.length);
    yield next.value;
  }
}

/** @returns the request, whose body is to be sent, and its answer @throws GatewayError when nobody answers */
function open(
  { url, token }: Endpoint,
  path: string,
  options: RequestOptions & { signal: AbortSignal },
): { request: ClientRequest; answer: Promise<IncomingMessage> } {
  const target = new URL(`${url}${path}`);
  const request = (target.protocol === 'https:' ? httpsRequest : httpRequest)(target, {
    ...options,
    headers: { ...options.headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
  });
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', resolve);
    request.on('error', (error) => reject(options.signal.aborted ? options.signal.reason : noGatewayAt(url, error)));
  });
  return { request, answer };
}

function parsed({ url }: Endpoint, { statusCode }: IncomingMessage, answer: string): unknown {
  let value: { errors?: SentError[] };
  try {
    value = JSON.parse(answer) as typeof value;
  } catch (cause) {
    throw noGatewayThatAnswers(url, statusCode, cause);
  }
  const [error] = value.errors ?? [];
  if (error !== undefined) throw toGatewayError(error);
  return value;
}

const progressEveryMs = 200;

/** Says on a terminal how far it is, as somebody may be waiting there. */
function progressOf(): (bytes: number) => void {
  if (!process.stderr.isTTY) return () => {};
  let bytes = 0;
  let saidAt = 0;
  return (more) => {
    bytes += more;
    if (performance.now() - saidAt < progressEveryMs) return;
    saidAt = performance.now();
    process.stderr.write(`\r${(bytes / 1_000_000).toFixed(1)} MB\u001b[K\r`);
  };
}
