import type { Place } from './cursor.ts';

/** What the log holds; a collection of the registry each, named as triggers name them. Who may see which: SPEC.md. */
export const publicTopics = [
  'projects',
  'worktrees',
  'claims',
  'activities',
  'hosts',
  'worktree_types',
  'mirror',
] as const;
export type PublicTopic = (typeof publicTopics)[number];

export function isPublicTopic(topic: string): topic is PublicTopic {
  return (publicTopics as readonly string[]).includes(topic);
}

/** Private ones are told only to those who may read what they are of; `tokens` and `principals` only to the gateways. */
export type Topic =
  | PublicTopic
  | 'messages'
  | 'snapshots'
  | 'sync_changes'
  | 'space_members'
  | 'executions'
  | 'dead_letters'
  | 'tokens'
  | 'principals';

export type Op = 'insert' | 'update' | 'delete';

/** One row of the log: that something changed, and the few facts that filters need. */
export interface FeedEvent {
  topic: Topic;
  op: Op;
  /** The key of the row: a UUID, or a number for worktree types; of a claim, its worktree's; of sync changes, their app. */
  entity_id: string;
  project_id: string | null;
  principal_id: string | null;
  agent_id: string | null;
  /** Whose it is, where it is private: a user's, or also a space's. */
  user_id: string | null;
  space_id: string | null;
  /** Columns that an update changed. */
  changed: readonly string[];
  data: Readonly<Record<string, unknown>>;
  depth: number;
  /** When it was written, RFC 3339 in UTC; its commit came later. */
  at: string;
  /** How far whoever has this event has read. */
  place: Place;
  /** Which of the reader's pages brought it; counts up within one process, 0 in replays. */
  page: number;
  /** Of an event that stands for several: the states between its `before` and its `after`, and the first one's page. */
  between?: readonly State[];
  firstPage?: number;
}

/** What reading the row of an event costs, in bytes, where rows can be large; 0 where they cannot. */
export function weightOf({ data }: FeedEvent): number {
  return typeof data.bytes === 'number' ? data.bytes : 0;
}

/** Whose events somebody follows, where not everybody's. */
export type Owner = `project:${string}` | `user:${string}` | `space:${string}`;

export function ownersOf({ project_id: projectId, user_id: userId, space_id: spaceId }: FeedEvent): Owner[] {
  const owners: Owner[] = [];
  if (projectId !== null) owners.push(`project:${projectId}`);
  if (userId !== null) owners.push(`user:${userId}`);
  if (spaceId !== null) owners.push(`space:${spaceId}`);
  return owners;
}

/** Whether an event is of a project's, or of something that was its until then. */
export function belongsTo(event: FeedEvent, projectId: string): boolean {
  const { before } = event.data as { before?: State };
  return (
    event.project_id === projectId ||
    before?.project_id === projectId ||
    (event.between ?? []).some((state) => state.project_id === projectId)
  );
}

type State = Readonly<Record<string, unknown>>;

/** Rows go to and fro between few states: each is kept once. */
const mostStates = 64;

function withState(states: readonly State[], state: State): readonly State[] {
  const text = JSON.stringify(state);
  if (states.some((known) => JSON.stringify(known) === text)) return states;
  return [...states, state].slice(-mostStates);
}

/**
 * Two events of one row that nobody was told of yet, as one: what it was before the first and what it is after the second.
 * @param earlier comes before `later` in the log
 */
export function merge(earlier: FeedEvent, later: FeedEvent): FeedEvent {
  const { after } = earlier.data as { after?: State };
  const between = after === undefined ? (earlier.between ?? []) : withState(earlier.between ?? [], after);
  const firstPage = earlier.firstPage ?? earlier.page;
  if (later.op !== 'update') return { ...later, between, firstPage };
  return {
    ...later,
    between,
    firstPage,
    op: earlier.op === 'insert' ? 'insert' : 'update',
    changed: earlier.op === 'insert' ? [] : [...new Set([...earlier.changed, ...later.changed])],
    // Of a change that has no facts of its own (its files) the ones from before still hold.
    data: { ...earlier.data, ...later.data, ...('before' in earlier.data ? { before: earlier.data.before } : {}) },
  };
}
