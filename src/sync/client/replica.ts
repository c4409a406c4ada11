import { randomUUID } from 'node:crypto';
import {
  type ChangeRefusal,
  effectOf,
  nameOf,
  type PendingChange,
  type RecordKey,
  toChange,
  type Write,
} from './change.ts';
import { type LocalState, type Progress, viewOf } from './local-state.ts';
import { type Effect, merge, type RecordState, stateOf, unwritten } from './merge.ts';

/**
 * What can happen to a client's state. Writes may come at any time; everything else changes the base or takes from the
 * outbox, and happens one at a time.
 */

/** @returns the change's id, once the change will survive */
export async function writeChange(local: LocalState, write: Write): Promise<string> {
  const change = newChange(local, write);
  await local.commit({ changes: new Map([[local.outbox.nextNumber(), change]]) });
  return change.changeId;
}

function newChange(local: LocalState, write: Write): PendingChange {
  const { tables, clock, schemaVersion } = local;
  if (!tables.includes(write.table)) {
    throw new Error(`This client is for the tables ${tables.join(', ')}, and ${write.table} is none of them.`);
  }
  const { written, deleted } = viewOf(local, nameOf({ spaceId: null, ...write }));
  const seen = [written, deleted].flatMap((moment) => (moment === null ? [] : [moment.at]));
  return toChange(write, { changeId: randomUUID(), at: clock.next(seen), schemaVersion });
}

/** Moves what the gateway has stored from the outbox to the base. */
export async function acceptChanges(
  local: LocalState,
  accepted: readonly { changeId: string; position: string }[],
): Promise<void> {
  const found = accepted.flatMap(({ changeId, position }) => {
    const [number, change] = local.outbox.find(changeId) ?? [];
    return number === undefined || change === undefined ? [] : [{ number, change, position }];
  });
  const told = found.map(({ change, position }) => ({
    key: change,
    effect: effectOf(change, position),
    schemaVersion: change.schemaVersion,
  }));
  const { progress } = local;
  await local.commit({
    records: mergedInto(local, told),
    changes: new Map(found.map(({ number }) => [number, null])),
    ...(progress === null ? {} : { progress: withVersionOf(progress, told) }),
  });
}

export async function refuseChanges(local: LocalState, refusals: ReadonlyMap<string, ChangeRefusal>): Promise<void> {
  const changes = [...refusals].flatMap(([changeId, refusal]): [number, PendingChange][] => {
    const [number, change] = local.outbox.find(changeId) ?? [];
    return number === undefined || change === undefined ? [] : [[number, { ...change, refusal }]];
  });
  await local.commit({ changes: new Map(changes) });
}

/**
 * Takes a refused change away, or puts another in its place. It may have been stored before it was refused, when the answer
 * was lost and a right with it, and what a client wrote itself it is not told: so the base is to be read anew.
 */
export async function settleRefused(
  local: LocalState,
  changeId: string,
  revise: ((refused: PendingChange) => Write) | null,
): Promise<string | null> {
  const [number, refused] = local.outbox.find(changeId) ?? [];
  if (number === undefined || refused === undefined || refused.refusal === null) {
    throw new Error(`No refused change has the id ${changeId}: see pending().`);
  }
  const revision = revise === null ? null : newChange(local, revise(refused));
  await local.commit({ changes: new Map([[number, revision]]), progress: null });
  return revision?.changeId ?? null;
}

/** A change as the gateway tells it. */
export interface ToldChange {
  key: RecordKey;
  effect: Effect;
  schemaVersion: number;
}

/** What others wrote, and the cursor after it: both or none. */
export async function applyChanges(local: LocalState, told: readonly ToldChange[], cursor: string): Promise<void> {
  const { progress } = local;
  if (progress === null) throw new Error('there is no base to apply changes to');
  await local.commit({ records: mergedInto(local, told), progress: withVersionOf({ ...progress, cursor }, told) });
}

/**
 * A new base, instead of the old one. The outbox stays.
 * @param progress null: it is to be read once more
 */
export async function replaceBase(
  local: LocalState,
  records: ReadonlyMap<string, RecordState>,
  progress: Progress | null,
): Promise<void> {
  const gone = [...local.base.keys()].filter((name) => !records.has(name));
  await local.commit({
    records: new Map<string, RecordState | null>([...gone.map((name) => [name, null] as const), ...records]),
    progress,
  });
}

function mergedInto({ base }: LocalState, told: readonly ToldChange[]): Map<string, RecordState> {
  const records = new Map<string, RecordState>();
  for (const { key, effect } of told) {
    const name = nameOf(key);
    records.set(name, merge(records.get(name) ?? base.get(name) ?? unwritten, stateOf(effect)));
  }
  return records;
}

/** Fields of one schema version do not merge with those of another; the gateway lifts them, so it is asked for all. */
function withVersionOf(progress: Progress, told: readonly ToldChange[]): Progress | null {
  const versions = new Set(told.map(({ schemaVersion }) => schemaVersion));
  if (progress.schemaVersion !== null) versions.add(progress.schemaVersion);
  const [schemaVersion = null, ...others] = versions;
  return others.length > 0 ? null : { ...progress, schemaVersion };
}
