import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BodyTooLarge } from '../../kernel/body.ts';
import { Refusal } from '../../kernel/errors.ts';
import { createLineDigest, type DigestedLines, LineTooLong } from '../../kernel/line-digest.ts';
import { mostLineBytes } from './model.ts';

/**
 * What is imported waits in a file, so that nothing is stored before all of it has come and is whole, a slow client holds no
 * transaction, and memory has a bound. The file has no name: whatever happens, nothing of it is left.
 */
export async function withSpool<Result>(act: (file: FileHandle) => Promise<Result>): Promise<Result> {
  const path = join(tmpdir(), `treeline-import-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await unlink(path);
    return await act(file);
  } finally {
    await file.close();
  }
}

/**
 * @throws BodyTooLarge at the first byte over
 * @throws Refusal PAYLOAD_TOO_LARGE for a line that is longer than any change
 */
export async function spool(
  file: FileHandle,
  chunks: AsyncIterable<Buffer>,
  mostBytes: number,
): Promise<DigestedLines> {
  const digest = createLineDigest(mostLineBytes);
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > mostBytes) throw new BodyTooLarge(mostBytes);
    try {
      digest.add(chunk);
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
      throw new Refusal('PAYLOAD_TOO_LARGE', `Line ${error.line}: expected at most ${mostLineBytes} bytes.`, {
        details: { line: error.line, limit: mostLineBytes },
      });
    }
    await file.writeFile(chunk);
  }
  return digest.end();
}

/** Some lines that are stored by one statement. */
export interface Batch {
  /** The binary form of a jsonb array of them: a version, then the text. */
  document: Buffer;
  lines: number;
  /** Where they are in the file. */
  offset: number;
  bytes: number;
}

const mostBatchLines = 2_000;
const batchBytes = 1_000_000;
/** The version and the bracket, before the lines. */
const headBytes = 2;

const newline = 0x0a;
const comma = 0x2c;

/** @param end where the lines end: each ends with a newline */
export async function* readBatches(file: FileHandle, end: number): AsyncGenerator<Batch, void> {
  let most = batchBytes;
  for (let offset = 0; offset < end; ) {
    const document = Buffer.allocUnsafe(headBytes + Math.min(most, end - offset));
    document[0] = 1;
    document[1] = '['.charCodeAt(0);
    await readFully(file, document.subarray(headBytes), offset);
    const { lines, length } = joinLines(document);
    if (lines === 0) {
      most *= 2;
      continue;
    }
    const bytes = length - headBytes;
    yield { document: document.subarray(0, length), lines, offset, bytes };
    offset += bytes;
    most = batchBytes;
  }
}

/** Makes an array of the lines: no byte is added or taken away, and nothing is parsed here while others wait. */
function joinLines(document: Buffer): { lines: number; length: number } {
  let lines = 0;
  let last = -1;
  for (let at = document.indexOf(newline, headBytes); at !== -1; at = document.indexOf(newline, at + 1)) {
    document[at] = comma;
    last = at;
    lines += 1;
    if (lines === mostBatchLines) break;
  }
  if (lines > 0) document[last] = ']'.charCodeAt(0);
  return { lines, length: last + 1 };
}

/** A batch's lines as they came. */
export async function linesOf(file: FileHandle, { offset, bytes }: Batch): Promise<Buffer[]> {
  const text = Buffer.allocUnsafe(bytes);
  await readFully(file, text, offset);
  const lines: Buffer[] = [];
  for (let from = 0; from < bytes; ) {
    const end = text.indexOf(newline, from);
    lines.push(text.subarray(from, end));
    from = end + 1;
  }
  return lines;
}

async function readFully(file: FileHandle, into: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
    if (bytesRead === 0) throw new Error('The file ended before its end.');
    done += bytesRead;
  }
}
