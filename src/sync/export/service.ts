import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { RequestContext } from '../../auth/context.ts';
import { retryContended } from '../../db/deadlock.ts';
import { asRefusal, documentFault } from '../../db/refusals.ts';
import { findUnstorable } from '../../db/storable.ts';
import { Refusal } from '../../kernel/errors.ts';
import { createSweeper } from '../../kernel/garbage.ts';
import type { DigestedLines } from '../../kernel/line-digest.ts';
import { type AppCount, createTally, manifestLine, readManifest, requireSameApps } from './model.ts';
import { type Batch, linesOf, readBatches } from './spool.ts';
import { type ExportPlace, enterAs, type ImportedLines, importLines, readExportPage } from './store.ts';

/**
 * All changes of the viewer's own, by app and in order, then the manifest. Each page is a statement of its own: while a slow
 * client reads, nothing is held in the database.
 * @param appIds null: of all apps
 */
export async function* exportLines(
  context: RequestContext,
  appIds: readonly string[] | null,
): AsyncGenerator<Buffer, void> {
  const hash = createHash('sha256');
  const tally = createTally();
  const sweep = createSweeper();
  for (let place: ExportPlace | null = { next: null, appId: '', position: '0' }; place !== null; ) {
    const page = await readExportPage(context, appIds, place);
    const lines = Buffer.from(page.lines);
    hash.update(lines);
    tally.add(page.counts);
    if (lines.length > 0) yield lines;
    sweep(lines.length);
    place = page.after;
  }
  yield Buffer.from(manifestLine(tally.apps(), hash.digest('hex')));
}

export interface Imported {
  changes: number;
  /** How many of them are new. */
  stored: number;
  /** How many were there already. */
  known: number;
  apps: AppCount[];
}

/**
 * Stores what an export wrote as the viewer's own: all of it, or nothing.
 * @param signal when there is nobody left to answer
 * @throws Refusal for a file that is not whole, and for changes that may not be stored
 * @throws RequestError LIMIT_EXCEEDED when others keep changing the same records
 */
export async function importChanges(
  context: RequestContext,
  file: FileHandle,
  digested: DigestedLines,
  signal: AbortSignal,
): Promise<Imported> {
  const apps = readManifest(digested);
  // Whoever pushes takes the same records in another order: one of the two has to give way. A large file is not read often.
  const stored = await retryContended(() => storeAll(context, file, { digested, apps, signal }), 2).catch(
    (error: unknown) => Promise.reject(asRefusal(error)),
  );
  context.feed.ring();
  return { changes: digested.lines, stored, known: digested.lines - stored, apps };
}

interface Whole {
  digested: DigestedLines;
  apps: readonly AppCount[];
  signal: AbortSignal;
}

/** @returns how many are new */
function storeAll(context: RequestContext, file: FileHandle, { digested, apps, signal }: Whole): Promise<number> {
  return context.db.transaction().execute(async (transaction) => {
    await enterAs(transaction, context.viewer);
    const tally = createTally();
    let stored = 0;
    let firstLine = 1;
    for await (const batch of readBatches(file, digested.bytes - digested.lastLine.length)) {
      signal.throwIfAborted();
      const imported = await importLines(transaction, batch.document, firstLine).catch(
        async (error: unknown): Promise<ImportedLines> => {
          throw await explained(error, file, batch, firstLine);
        },
      );
      // Two values on one line, or one on two, are as many as they should be only where they are counted.
      if (tally.add(imported.counts) !== batch.lines) throw await notLines(file, batch, firstLine);
      stored += imported.stored;
      firstLine += batch.lines;
    }
    requireSameApps(tally.apps(), apps, firstLine);
    signal.throwIfAborted();
    return stored;
  });
}

/** What the database found wrong with some lines, and with which. */
async function explained(error: unknown, file: FileHandle, batch: Batch, firstLine: number): Promise<unknown> {
  const fault = documentFault(error);
  if (fault === 'not JSON') return notLines(file, batch, firstLine, error);
  if (fault === 'too large') {
    const lines = `Lines ${firstLine} to ${firstLine + batch.lines - 1}`;
    return new Refusal('PAYLOAD_TOO_LARGE', `${lines}: stored, they are larger than can be.`, { cause: error });
  }
  const refusal = asRefusal(error);
  if (!(refusal instanceof Refusal)) return error;
  const { index, ...details } = refusal.details ?? {};
  const line = typeof index === 'number' ? { line: firstLine + index } : {};
  return new Refusal(refusal.code, refusal.message, { details: { ...details, ...line }, cause: error });
}

/** Found here, and not by the database: to it they are one text. */
async function notLines(file: FileHandle, batch: Batch, firstLine: number, cause?: unknown): Promise<Refusal> {
  const lines = await linesOf(file, batch);
  for (const [index, text] of lines.entries()) {
    const problem = problemOf(text);
    if (problem === null) continue;
    const line = firstLine + index;
    return new Refusal('INVALID', `Line ${line}: ${problem}.`, { details: { line }, cause });
  }
  const where = `Lines ${firstLine} to ${firstLine + batch.lines - 1}`;
  return new Refusal('INVALID', `${where}: expected a JSON object on each that can be stored.`, { cause });
}

function problemOf(line: Buffer): string | null {
  if (!isUtf8(line)) return 'expected UTF-8';
  try {
    const unstorable = findUnstorable(JSON.parse(line.toString()));
    return unstorable === null ? null : `${['the change', ...unstorable.path].join('.')} ${unstorable.problem}`;
  } catch {
    return 'expected one JSON object';
  }
}
