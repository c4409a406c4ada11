import type { Contender } from './contender.ts';
import type { Databases } from './databases.ts';
import { insertChanges, pushChanges } from './peers/sync-statements.ts';
import { compare, type Load } from './rounds.ts';
import { appId, type Batch, endlessNew, endlessUpdates, mostAtOnce, openSync } from './sync-changes.ts';

const query = `mutation Push($input: PushChangesInput!) {
  pushChanges(input: $input) { accepted { changeId position duplicate } userErrors { code message path } }
}`;

/** There from the beginning. */
const size = { records: 20_000, changes: 20_000, others: 0 };
const connections = 4;

const shapes = [mostAtOnce, 20].flatMap((perPush) => [
  { name: `${perPush} new records in each push`, perPush, batches: endlessNew(perPush) },
  { name: `${perPush} updates in each push`, perPush, batches: endlessUpdates(perPush, size.records) },
]);

/** What some clients push at once: over the gateway, without it, and as a plain insert and upsert. */
export async function syncPush(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const { gateway, pool, principalId } = await openSync(databases, 'sync_push', { size, opened });
  for (const { name, perPush, batches } of shapes) {
    console.log(`\n${name}:`);
    const values = () => {
      const { clientId, changes } = batches();
      return [principalId, appId, clientId, JSON.stringify(changes)];
    };
    const expecting = {
      check: (answer: unknown) => checkCount((answer as Stored).receipts.length, perPush),
      expected: `"stored" : ${perPush},`,
    };
    await compare(
      [
        gatewayLoad(gateway, batches, perPush),
        { name: 'SQL alone', sql: pushChanges, pool, values, ...expecting },
        { name: 'plain SQL', sql: insertChanges, pool, values, ...expecting },
      ],
      { connections, unit: { name: 'changes', perRequest: perPush } },
    );
  }
}

function gatewayLoad(contender: Contender, batches: () => Batch, perPush: number): Load {
  return {
    contender,
    body: () => {
      const { clientId, changes } = batches();
      const input = {
        appId,
        clientId,
        changes: changes.map((change) => ({
          changeId: change.change_id,
          table: change.table_name,
          recordId: change.record_id,
          op: change.op.toUpperCase(),
          data: change.data,
          fieldMeta: change.field_meta,
        })),
      };
      return JSON.stringify({ query, variables: { input } });
    },
    check: (answer) =>
      checkCount(
        (answer as { data: { pushChanges: { accepted: unknown[] } } }).data.pushChanges.accepted.length,
        perPush,
      ),
    // Of the first one: a batch is stored whole or not at all.
    expected: '"duplicate":false',
  };
}

interface Stored {
  receipts: unknown[];
}

function checkCount(count: number, expected: number): void {
  if (count !== expected) throw new Error(`expected ${expected} new changes, got ${count}`);
}
