import { GatewayError } from '../../client/client.ts';
import { graphql } from '../../client/generated/gql.ts';
import type { SyncChangeInput, SyncOp } from '../../client/generated/graphql.ts';
import type { ChangeRefusal, PendingChange } from './change.ts';
import type { LocalState } from './local-state.ts';
import type { Op } from './merge.ts';
import type { Remote } from './remote.ts';
import { acceptChanges, refuseChanges } from './replica.ts';

const pushDocument = graphql(`
  mutation SyncPush($input: PushChangesInput!) {
    pushChanges(input: $input) {
      accepted {
        changeId
        position
      }
      userErrors {
        code
        message
        path
      }
    }
  }
`);

export interface PushOutcome {
  /** How many were stored. */
  accepted: number;
  /** What was refused this time. It stays in the outbox until it is dropped or revised. */
  refused: PendingChange[];
}

interface UserError {
  code: string;
  message: string;
  path?: readonly string[] | null;
}

const mostAtOnce = 500;
/** Less than half of what the gateway takes, which counts the same changes in its own spelling of JSON. */
const mostBytesAtOnce = 4_000_000;
const ops = { insert: 'INSERT', update: 'UPDATE', delete: 'DELETE' } as const satisfies Record<Op, SyncOp>;

/**
 * Sends the outbox in its order. A batch is stored as a whole or not at all: where the gateway refuses a change of it, the
 * others go again without.
 */
export async function pushOutbox(local: LocalState, remote: Remote, appId: string): Promise<PushOutcome> {
  const outcome: PushOutcome = { accepted: 0, refused: [] };
  let most = mostAtOnce;
  for (;;) {
    const batch = nextBatch(local, most);
    if (batch.length === 0) return outcome;
    const { pushChanges } = await remote.ask(pushDocument, {
      input: { appId, clientId: local.clientId, changes: batch.map(toInput) },
    });
    if (pushChanges.accepted != null && pushChanges.userErrors.length === 0) {
      await acceptChanges(local, pushChanges.accepted);
      outcome.accepted += batch.length;
    } else if (batch.length > 1 && pushChanges.userErrors.some(({ code }) => code === 'PAYLOAD_TOO_LARGE')) {
      most = Math.ceil(batch.length / 2);
    } else {
      const refusals = refusalsIn(batch, pushChanges.userErrors);
      await refuseChanges(local, refusals);
      outcome.refused.push(...[...refusals.keys()].flatMap((id) => local.outbox.find(id)?.[1] ?? []));
    }
  }
}

function nextBatch({ outbox }: LocalState, most: number): PendingChange[] {
  const batch: PendingChange[] = [];
  let bytes = 0;
  for (const [, change] of outbox.all()) {
    if (change.refusal !== null) continue;
    bytes += Buffer.byteLength(JSON.stringify(change));
    if (batch.length === most || (batch.length > 0 && bytes > mostBytesAtOnce)) break;
    batch.push(change);
  }
  return batch;
}

function toInput(change: PendingChange): SyncChangeInput {
  const { changeId, table, recordId, op, data, fieldMeta, spaceId, actor, origin, schemaVersion } = change;
  return { changeId, table, recordId, op: ops[op], data, fieldMeta, spaceId, actor, origin, schemaVersion };
}

/** @throws GatewayError where it is no change that was refused, but the app or the client */
function refusalsIn(batch: readonly PendingChange[], errors: readonly UserError[]): Map<string, ChangeRefusal> {
  const refusals = new Map<string, ChangeRefusal>();
  for (const { code, message, path } of errors) {
    const refused = path?.[1] === 'changes' ? batch[Number(path[2])] : undefined;
    if (refused !== undefined && !refusals.has(refused.changeId)) refusals.set(refused.changeId, { code, message });
  }
  if (refusals.size === 0) {
    const [error] = errors;
    throw new GatewayError(
      error?.message ?? 'The gateway neither stored the changes nor refused them.',
      error?.code ?? null,
    );
  }
  return refusals;
}
