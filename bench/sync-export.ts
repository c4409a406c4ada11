import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import type pg from 'pg';
import type { Contender } from './contender.ts';
import type { Databases } from './databases.ts';
import { exportChanges, selectLines } from './peers/sync-statements.ts';
import { appId, openSync } from './sync-changes.ts';
import { compareTransfers, ownCpuSeconds, type Transfer } from './transfer.ts';

const size = { records: 20_000, changes: 100_000, others: 4 };

/** A user's changes as a file: over the gateway, and as a program writes and hashes the same lines with SQL alone. */
export async function syncExport(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const { gateway, pool, principalId } = await openSync(databases, 'sync_export', { size, opened });
  const devNull = await open('/dev/null', 'w');
  opened.defer(() => devNull.close());
  const wholeBytes = await download(gateway, 'identity');
  const packedBytes = await download(gateway, 'gzip');
  console.log(`File: ${(wholeBytes / 1e6).toFixed(0)} MB, packed ${(packedBytes / 1e6).toFixed(1)} MB`);

  const gatewaySide = (name: string, encoding: 'identity' | 'gzip'): Transfer => ({
    name,
    prepare: async () => async () => {
      await download(gateway, encoding);
      return wholeBytes / 1e6;
    },
    cpuSeconds: () => gateway.cpuSeconds(),
  });
  const sqlSide = (name: string, sql: Statement): Transfer => ({
    name,
    prepare: async () => async () => {
      const bytes = await readPages(pool, { sql, principalId }, (page) => devNull.writeFile(page));
      // The manifest is missing, and times are spelled shorter.
      if (Math.abs(bytes / wholeBytes - 1) > 0.05) throw new Error(`expected ${wholeBytes} bytes, got ${bytes}`);
      return bytes / 1e6;
    },
    cpuSeconds: ownCpuSeconds,
  });
  await compareTransfers(
    [
      gatewaySide('Treeline', 'identity'),
      gatewaySide('Treeline, packed', 'gzip'),
      sqlSide('SQL alone', exportChanges),
      sqlSide('plain SQL', selectLines),
    ],
    'MB',
  );
}

/** @returns how many bytes came, as they came */
async function download(gateway: Contender, encoding: 'identity' | 'gzip'): Promise<number> {
  const url = new URL('/export/sync', gateway.url);
  // Unlike fetch it leaves packed what is packed, which is no work of the gateway's.
  const [response] = (await once(
    get(url, { headers: { ...gateway.headers, 'accept-encoding': encoding } }),
    'response',
  )) as [IncomingMessage];
  let bytes = 0;
  // Throws when it is cut off.
  for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
  if (response.statusCode !== 200) throw new Error(`the export was answered ${response.statusCode}`);
  return bytes;
}

interface Statement {
  name: string;
  text: string;
}

interface LinesPage {
  body: string | null;
  next: string | null;
  position: string | null;
  complete: boolean;
}

/** @returns how many bytes they are */
async function readPages(
  pool: pg.Pool,
  { sql, principalId }: { sql: Statement; principalId: string },
  write: (page: Buffer) => Promise<unknown>,
): Promise<number> {
  const hash = createHash('sha256');
  let bytes = 0;
  let page: LinesPage | undefined = { body: null, next: null, position: '0', complete: false };
  while (page !== undefined && !page.complete) {
    const values: unknown[] = [principalId, appId, page.next, page.position];
    page = (await pool.query<LinesPage>({ ...sql, values })).rows[0];
    const lines = Buffer.from(page?.body ?? '');
    hash.update(lines);
    await write(lines);
    bytes += lines.length;
  }
  await write(hash.digest());
  return bytes;
}
