import type { TestGateway } from '../support/gateway.ts';
import type { Person } from '../support/people.ts';
import { type Watch, watch } from '../support/watch.ts';

/** What a client of sync sends and gets. */
export interface Sent {
  changeId: string;
  table?: string;
  recordId?: string;
  op?: 'INSERT' | 'UPDATE' | 'DELETE';
  data?: unknown;
  fieldMeta?: unknown;
  spaceId?: string;
  actor?: unknown;
  origin?: string;
  schemaVersion?: number;
}

export interface Change extends Required<Omit<Sent, 'data' | 'fieldMeta' | 'spaceId'>> {
  position: string;
  data: Record<string, unknown> | null;
  fieldMeta: Record<string, string>;
  clientId: string;
  userId: string;
  spaceId: string | null;
  createdAt: string;
  cursor: string;
}

export interface Page {
  changes: Change[];
  cursor: string;
  hasMore: boolean;
}

export interface Pushed {
  accepted: { changeId: string; position: string; duplicate: boolean; cursor: string }[] | null;
  cursor: string | null;
  userErrors: { code: string; message: string; path: string[]; details: Record<string, unknown> | null }[];
}

export interface SyncRecord {
  recordId: string;
  data: Record<string, unknown>;
  fieldMeta: Record<string, string>;
  fieldPositions: Record<string, number>;
  spaceId: string | null;
  deletedAt: string | null;
  write: { at: string; position: string } | null;
  deletion: { at: string; position: string } | null;
  schemaVersion: number;
  cursor: string;
}

type Asking = Pick<TestGateway, 'ask'>;
type Asker = Pick<Person, 'token'>;

const changeFields = `id position table recordId op data fieldMeta clientId changeId userId spaceId schemaVersion actor origin
  createdAt cursor`;
const pageFields = `changes { ${changeFields} } cursor hasMore`;
const recordFields = `recordId data fieldMeta fieldPositions spaceId deletedAt schemaVersion cursor write { at position }
  deletion { at position }`;

export const appId = 'notes';

/** Changes of records with one field, unless they say otherwise. */
export async function push(
  gateway: Asking,
  { token }: Asker,
  clientId: string,
  changes: readonly Sent[],
  more: { schemaVersion?: number; appId?: string } = {},
): Promise<Pushed> {
  const { pushChanges } = await gateway.ask<{ pushChanges: Pushed }>(
    `mutation ($i: PushChangesInput!) {
      pushChanges(input: $i) { accepted { changeId position duplicate cursor } cursor userErrors { code message path details } }
    }`,
    { i: { appId, clientId, ...more, changes: changes.map(filled) } },
    { token },
  );
  return pushChanges;
}

export function filled(change: Sent): Sent {
  return { table: 'note', recordId: `of ${change.changeId}`, op: 'INSERT', data: { text: change.changeId }, ...change };
}

export interface PullOptions {
  since?: string | null;
  first?: number;
  tables?: string[];
  excludeClientId?: string;
  appId?: string;
}

export async function pull(gateway: Asking, { token }: Asker, options: PullOptions = {}): Promise<Page> {
  const { syncChanges } = await gateway.ask<{ syncChanges: Page }>(pullDocument, { appId, ...options }, { token });
  return syncChanges;
}

export const pullDocument = `query ($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int = 500) {
  syncChanges(appId: $appId, tables: $tables, since: $since, excludeClientId: $excludeClientId, first: $first) { ${pageFields} }
}`;

/** To the end, page by page. */
export async function pullAll(gateway: Asking, asker: Asker, options: PullOptions = {}): Promise<Page> {
  const changes: Change[] = [];
  for (let since = options.since ?? null; ; ) {
    const page = await pull(gateway, asker, { ...options, since });
    changes.push(...page.changes);
    if (!page.hasMore) return { ...page, changes };
    since = page.cursor;
  }
}

export async function listRecords(
  gateway: Asking,
  { token }: Asker,
  options: { table?: string; first?: number; appId?: string } = {},
): Promise<SyncRecord[]> {
  const records: SyncRecord[] = [];
  for (let after: string | null = null; ; ) {
    const { syncRecords }: { syncRecords: RecordPage } = await gateway.ask(
      `query ($appId: String!, $table: String!, $first: Int, $after: String) {
        syncRecords(appId: $appId, table: $table, first: $first, after: $after) {
          nodes { ${recordFields} } pageInfo { hasNextPage endCursor }
        }
      }`,
      { appId, table: 'note', ...options, after },
      { token },
    );
    records.push(...syncRecords.nodes);
    if (!syncRecords.pageInfo.hasNextPage) return records;
    after = syncRecords.pageInfo.endCursor;
  }
}

interface RecordPage {
  nodes: SyncRecord[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

export const followDocument = `subscription ($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor) {
  syncChanged(appId: $appId, tables: $tables, excludeClientId: $excludeClientId, after: $after) { ${pageFields} }
}`;

export function follow(
  gateway: Pick<TestGateway, 'url' | 'wsUrl' | 'token'>,
  { token }: Asker,
  options: { after?: string; tables?: string[]; excludeClientId?: string } = {},
): Promise<Watch<Page>> {
  return watch<Page>(gateway, followDocument, { appId, ...options }, token);
}

export const idsOf = ({ changes }: Pick<Page, 'changes'>): string[] => changes.map(({ changeId }) => changeId);

/** The ids of the next so many changes, however they are told. */
export async function take(watching: Watch<Page>, howMany: number): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < howMany) ids.push(...idsOf(await watching.next()));
  return ids;
}

/** Changes that say their numbers. */
export const numbered = (prefix: string, count: number, from = 0): Sent[] =>
  Array.from({ length: count }, (_, n) => ({ changeId: `${prefix}${from + n}` }));

export async function makeSpace(gateway: Asking, { token }: Asker, id: string): Promise<void> {
  await gateway.ask(
    'mutation ($i: SaveSpaceInput!) { saveSpace(input: $i) { space { id } userErrors { code } } }',
    { i: { id, name: id } },
    { token },
  );
}

export async function setSpaceMember(
  gateway: Asking,
  { token }: Asker,
  space: string,
  member: Pick<Person, 'id'>,
  role: 'OWNER' | 'EDITOR' | 'VIEWER' | null,
): Promise<void> {
  const { setSpaceMember: outcome } = await gateway.ask<{ setSpaceMember: { userErrors: unknown[] } }>(
    'mutation ($i: SetSpaceMemberInput!) { setSpaceMember(input: $i) { userErrors { code message } } }',
    { i: { space, principal: member.id, role } },
    { token },
  );
  if (outcome.userErrors.length > 0) throw new Error(JSON.stringify(outcome.userErrors));
}
