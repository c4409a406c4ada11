import { createHash } from 'node:crypto';
import { createTally, manifestLine } from '../src/sync/export/model.ts';
import type { Databases } from './databases.ts';
import { appId, type Batch, endlessNew, mostAtOnce, openSync, pushBatch, type SyncBench } from './sync-changes.ts';
import { compareTransfers, ownCpuSeconds, type Transfer } from './transfer.ts';

const size = { records: 20_000, changes: 20_000, others: 0 };
const changesAtOnce = 10_000;

/** A file of new changes of new records, all of it in one transaction, beside pushing as many by SQL, a batch at a time. */
export async function syncImport(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const bench = await openSync(databases, 'sync_import', { size, opened });
  await compareTransfers([imports(bench), pushes(bench)], 'changes');
}

function imports({ gateway }: SyncBench): Transfer {
  const batches = endlessNew(mostAtOnce);
  const url = new URL('/import/sync', gateway.url);
  return {
    name: 'Treeline, imported',
    async prepare() {
      const body = makeFile(Array.from({ length: changesAtOnce / mostAtOnce }, batches));
      return async () => {
        const headers = { ...gateway.headers, 'content-type': 'application/x-ndjson' };
        const response = await fetch(url, { method: 'POST', headers, body });
        const text = await response.text();
        if (!text.includes(`"stored":${changesAtOnce},`)) throw new Error(`answered ${response.status}: ${text}`);
        return changesAtOnce;
      };
    },
    cpuSeconds: () => gateway.cpuSeconds(),
  };
}

/** As an export writes it. */
function makeFile(batches: readonly Batch[]): Buffer {
  const lines = batches.flatMap(({ clientId, changes }) =>
    changes.map((change) => {
      const line = { app_id: appId, client_id: clientId, schema_version: 1, created_at: new Date(), ...change };
      return `${JSON.stringify(line)}\n`;
    }),
  );
  const text = Buffer.from(lines.join(''));
  const tally = createTally();
  tally.add([{ app_id: appId, schema_version: 1, count: lines.length }]);
  const sha256 = createHash('sha256').update(text).digest('hex');
  return Buffer.concat([text, Buffer.from(manifestLine(tally.apps(), sha256))]);
}

function pushes({ pool, principalId }: SyncBench): Transfer {
  const batches = endlessNew(mostAtOnce);
  return {
    name: 'SQL alone, pushed',
    async prepare() {
      const made = Array.from({ length: changesAtOnce / mostAtOnce }, batches);
      return async () => {
        for (const batch of made) await pushBatch(pool, principalId, batch);
        return changesAtOnce;
      };
    },
    cpuSeconds: ownCpuSeconds,
  };
}
