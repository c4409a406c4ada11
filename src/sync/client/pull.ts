import { GatewayError } from '../../client/client.ts';
import { graphql } from '../../client/generated/gql.ts';
import type { SentChangeFragment, SyncRecordsQuery } from '../../client/generated/graphql.ts';
import { nameOf } from './change.ts';
import { canonicalTime } from './clock.ts';
import type { LocalState } from './local-state.ts';
import type { Data, Moment, Op, RecordState } from './merge.ts';
import type { Remote } from './remote.ts';
import { applyChanges, replaceBase, type ToldChange } from './replica.ts';

/** What is asked of a change, pulled or told live. */
graphql(`
  fragment SentChange on SyncChange {
    position
    table
    recordId
    spaceId
    op
    data
    fieldMeta
    schemaVersion
    createdAt
  }
`);

const pullDocument = graphql(`
  query SyncPull($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int) {
    syncChanges(appId: $appId, tables: $tables, since: $since, excludeClientId: $excludeClientId, first: $first) {
      changes {
        ...SentChange
      }
      cursor
      hasMore
    }
  }
`);

const recordsDocument = graphql(`
  query SyncRecords($appId: String!, $table: String!, $first: Int, $after: String) {
    syncRecords(appId: $appId, table: $table, first: $first, after: $after) {
      nodes {
        table
        recordId
        spaceId
        data
        fieldMeta
        fieldPositions
        schemaVersion
        cursor
        write {
          at
          position
        }
        deletion {
          at
          position
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`);

/** What is pulled, and how. */
export interface Source {
  remote: Remote;
  appId: string;
  /** How many changes or records one request asks for. */
  pageSize: number;
}

type SentRecord = SyncRecordsQuery['syncRecords']['nodes'][number];

/** The gateway cannot go on from what is here: the viewer sees other spaces, or the database is another. */
const beginAnew: readonly (string | null)[] = ['CURSOR_EXPIRED', 'BAD_CURSOR'];
/** Spaces that are joined and left all the time must not keep somebody busy for ever. */
const mostBeginnings = 5;

export function mustBeginAnew(error: unknown): boolean {
  return error instanceof GatewayError && beginAnew.includes(error.code);
}

/** Brings the base to where the gateway is, from where it was left or from the beginning. */
export async function pullAll(local: LocalState, source: Source): Promise<void> {
  for (let beginnings = 0; ; ) {
    try {
      if (local.progress === null) {
        beginnings += 1;
        await readBase(local, source);
      }
      if (await pullChanges(local, source)) return;
    } catch (error) {
      if (!mustBeginAnew(error) || beginnings === mostBeginnings) throw error;
      await local.commit({ progress: null });
    }
  }
}

/** @returns false when the base turned out to be of another schema version */
async function pullChanges(local: LocalState, { remote, appId, pageSize }: Source): Promise<boolean> {
  for (let hasMore = true; hasMore; ) {
    if (local.progress === null) return false;
    const { syncChanges: page } = await remote.ask(pullDocument, {
      appId,
      tables: [...local.tables],
      since: local.progress.cursor,
      excludeClientId: local.clientId,
      first: pageSize,
    });
    await applyChanges(local, page.changes.map(toTold), page.cursor);
    hasMore = page.hasMore;
  }
  return local.progress !== null;
}

/**
 * All records, and a cursor from before the first of them was read. The cursor comes with records; so tables that turned out
 * to be empty before one was given are read again after it.
 */
async function readBase(local: LocalState, source: Source): Promise<void> {
  const records = new Map<string, RecordState>();
  let cursor: string | null = null;
  const versions = new Set<number>();
  const empty: string[] = [];

  async function read(table: string): Promise<void> {
    const listed = await listTable(source, table);
    if (listed.length === 0 && cursor === null) empty.push(table);
    for (const record of listed) {
      cursor ??= record.cursor;
      versions.add(record.schemaVersion);
      records.set(nameOf({ ...record, spaceId: record.spaceId ?? null }), toState(record));
    }
  }

  for (const table of local.tables) await read(table);
  if (cursor !== null) for (const table of empty) await read(table);
  const [schemaVersion = null, ...others] = versions;
  // A newer version came between two pages: what was read before it is of the old one.
  await replaceBase(local, records, others.length > 0 ? null : { cursor, schemaVersion });
}

async function listTable({ remote, appId, pageSize }: Source, table: string): Promise<SentRecord[]> {
  const records: SentRecord[] = [];
  for (let after: string | null = null; ; ) {
    const { syncRecords: page }: SyncRecordsQuery = await remote.ask(recordsDocument, {
      appId,
      table,
      first: pageSize,
      after,
    });
    records.push(...page.nodes);
    if (!page.pageInfo.hasNextPage) return records;
    after = page.pageInfo.endCursor ?? null;
  }
}

export function toTold(change: SentChangeFragment): ToldChange {
  const { table, recordId, spaceId, position, schemaVersion } = change;
  return {
    key: { table, recordId, spaceId: spaceId ?? null },
    effect: {
      op: change.op.toLowerCase() as Op,
      data: change.data as Data | null,
      fieldMeta: change.fieldMeta as Record<string, string>,
      at: canonicalTime(change.createdAt),
      position,
    },
    schemaVersion,
  };
}

function toState({ data, fieldMeta, fieldPositions, write, deletion }: SentRecord): RecordState {
  const times = new Map(Object.entries(fieldMeta as Record<string, string>));
  const positions = new Map(Object.entries(fieldPositions as Record<string, number>));
  const fields = Object.entries(data as Data).map(([name, value]) => {
    const [at, position] = [times.get(name), positions.get(name)];
    if (at === undefined || position === undefined) throw new Error(`The gateway told no time of the field ${name}.`);
    return [name, { value, at, position: String(position) }] as const;
  });
  return { fields: Object.fromEntries(fields), written: toMoment(write), deleted: toMoment(deletion) };
}

function toMoment(sent: { at: string; position: string } | null | undefined): Moment | null {
  return sent == null ? null : { at: canonicalTime(sent.at), position: sent.position };
}
