/* eslint-disable */
/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** What the agent in a worktree is doing. */
export type AgentState =
  /** It has nothing to do. */
  | 'IDLE'
  /** Nobody said. */
  | 'UNKNOWN'
  /** It waits for somebody or something. */
  | 'WAITING'
  /** It works. */
  | 'WORKING';

/** What was done to a row. */
export type ChangeOp =
  /** It went. */
  | 'DELETE'
  /** It came. */
  | 'INSERT'
  /** It changed. */
  | 'UPDATE';

/** A file that a worktree changes against its merge base, committed or not. */
export type ChangedFileInput = {
  /** Lines added; left out for a binary file. */
  additions?: number | null | undefined;
  /** The lines of the merge base that the change touches. */
  baseLines?: Array<LineRangeInput> | null | undefined;
  /** A added, M modified, D deleted, R renamed, ? untracked, U in conflict. */
  change: string;
  /** Lines removed; left out for a binary file. */
  deletions?: number | null | undefined;
  /** The file's path in the repository. */
  path: string;
  /** Its path before a rename. */
  previousPath?: string | null | undefined;
};

/** Who takes which worktree, and for how long. */
export type ClaimWorktreeInput = {
  /** The agent that takes it. */
  agentId: string;
  /** Tells two runs of one agent apart: another session is another holder. */
  session?: string | null | undefined;
  /** Even if another holds it. */
  takeover?: boolean | null | undefined;
  /** When it lapses unless renewed: 1 to 86,400. */
  ttlSeconds?: number | null | undefined;
  /** Which worktree. */
  worktree: WorktreeRef;
};

/** A new token. */
export type CreateTokenInput = {
  /** When it ends by itself; never when left out. */
  expiresAt?: string | null | undefined;
  /** What it is for, in words. */
  name: string;
  /** Whose token; the caller when left out. */
  principal?: string | number | null | undefined;
  /** What it may do. */
  scopes: Array<Scope>;
};

/** What git says of a worktree. What is left out keeps its stored value. */
export type GitStateInput = {
  /** Commits that the base branch does not have. */
  aheadOfTrunk?: number | null | undefined;
  /** Commits of the base branch that it does not have. */
  behindTrunk?: number | null | undefined;
  /** All changed files: they replace the stored ones. */
  changedFiles?: Array<ChangedFileInput> | null | undefined;
  /** Alone, true means at least one file and false none. */
  hasUncommittedChanges?: boolean | null | undefined;
  /** The commit that is checked out. */
  headCommit?: string | null | undefined;
  /** When the last commit was made. */
  lastCommitAt?: string | null | undefined;
  /** The last commit's message. */
  lastCommitMessage?: string | null | undefined;
  /** Where it left the base branch. */
  mergeBase?: string | null | undefined;
  /** How many files are uncommitted; must agree with the flag. */
  uncommittedFilesCount?: number | null | undefined;
};

/** A run of lines. */
export type LineRangeInput = {
  /** How many lines; 0 for an insertion before `start`. */
  count: number;
  /** The first line, counted from 1. */
  start: number;
};

/** Which side of the mirror follows the other. */
export type MirrorDirection =
  /** The projects here follow `mai.projects`. */
  | 'FROM_MAI'
  /** `mai.projects` follows the projects here. */
  | 'TO_MAI';

/** How a project is named: exactly one of these. */
export type ProjectRef =
  {   /** Its `id`, or the bare UUID. */
  id: string | number; remote?: never; slug?: never; }
  |  { id?: never;   /** Its remote, in any of its spellings. */
  remote: string; slug?: never; }
  |  { id?: never; remote?: never;   /** Its slug. */
  slug: string; };

/** Where a project stands in its life. */
export type ProjectStatus =
  /** Being worked on. */
  | 'ACTIVE'
  /** Kept for the record. */
  | 'ARCHIVED'
  /** Finished. */
  | 'DONE'
  /** Planned; nothing runs yet. */
  | 'DRAFT'
  /** Being worked on, and released. */
  | 'PUBLISHED'
  /** Set aside for now. */
  | 'SLEEPING';

/** What a client changed. */
export type PushChangesInput = {
  /** The app whose data it is, 1 to 200 bytes. */
  appId: string;
  /** 1 to 500, in their order. */
  changes: Array<SyncChangeInput>;
  /** The client's own name for itself, 1 to 200 bytes: another one for each device and installation. */
  clientId: string;
  /** Of which schema version of the app the changes are: 1 when left out. */
  schemaVersion?: number | null | undefined;
};

/** Which side follows, and how much of it. */
export type ReconcileMirrorInput = {
  /** The `endCursor` of an earlier answer in this direction. */
  after?: string | null | undefined;
  /** Which side follows the other. */
  direction: MirrorDirection;
  /** How many to look at: 1 to 100,000; all when left out. Ask for some thousands at a time to see how it goes on. */
  first?: number | null | undefined;
  /** Only these projects. */
  projectIds?: Array<string | number> | null | undefined;
};

/** A project to register. What is left out keeps its stored value; metadata merges. */
export type RegisterProjectInput = {
  /** `main` for a new project when left out. */
  defaultBranch?: string | null | undefined;
  /** What it is about, in Markdown. */
  description?: string | null | undefined;
  /** What kinds of thing it is. */
  kinds?: Array<string> | null | undefined;
  /** Other systems that manage it. */
  managedBy?: Array<string> | null | undefined;
  /** An object; its keys are merged, a null removes one. */
  metadata?: unknown;
  /** Its name for people, 1 to 200 characters. */
  name: string;
  /** The projects that it is part of: all of them. */
  parents?: Array<string | number> | null | undefined;
  /** Its git remote, in any spelling; credentials in it are not stored. */
  remoteOrigin?: string | null | undefined;
  /** Its short name; made from the name of a new project when left out. */
  slug?: string | null | undefined;
  /** ACTIVE for a new project when left out. */
  status?: ProjectStatus | null | undefined;
  /** Where the main checkout lies. */
  trunkPath?: string | null | undefined;
};

/** Which claim to end. */
export type ReleaseWorktreeInput = {
  /** The fence of the claim: it proves the holder. */
  fence: string;
  /** Which worktree. */
  worktree: WorktreeRef;
};

/** Which claim to renew, and for how long. */
export type RenewClaimInput = {
  /** The fence of the claim. */
  fence: string;
  /** When it lapses unless renewed: 1 to 86,400. */
  ttlSeconds?: number | null | undefined;
  /** Which worktree. */
  worktree: WorktreeRef;
};

/** The worktrees of one repository on one host. */
export type ReportWorktreesInput = {
  /** These are all: other worktrees of this repository on this host are gone. */
  complete?: boolean;
  /** The host, by name, made at first sight. */
  host?: string;
  /** When git was asked. */
  observedAt: string;
  /** The project of the repository; its name is only for a new one, its trunk path is that of this host. */
  project: RegisterProjectInput;
  /** git's common directory on the host. */
  repositoryPath: string;
  /** At most 1,000 worktrees. */
  worktrees: Array<WorktreeReportInput>;
};

/** Which token to end. */
export type RevokeTokenInput = {
  /** The `id` of the token's record. */
  token: string | number;
};

/** What a token may do. */
export type Scope =
  /** Manage principals and tokens, and everything but chats and sync. */
  | 'ADMIN'
  /** Read and write the chats of projects that the principal is a member of. */
  | 'CHAT'
  /** Clean up, prune, vacuum, see health and metrics. */
  | 'MAINTENANCE'
  /** Read projects, worktrees, hosts, claims and activities. */
  | 'REGISTRY_READ'
  /** Change them. */
  | 'REGISTRY_WRITE'
  /** Read and write the principal's own offline changes and those of its spaces. */
  | 'SYNC'
  /** Register triggers and scripts, handle dead letters. */
  | 'TRIGGERS_ADMIN';

/** A change to push. */
export type SyncChangeInput = {
  /** Who did it, whatever that means to the app. */
  actor?: unknown;
  /** The client's own id, 1 to 200 bytes: pushed again under it, the change is not stored twice. */
  changeId: string;
  /** The fields that it writes, as an object; of an insert all of them. Not needed to delete. */
  data?: unknown;
  /** When each field was written, by the client's clock: {"field": "2026-11-21T09:30:00Z"}. What is left out was written now. To delete, one time under any name is the delete's. At most a day ahead of the server's clock. */
  fieldMeta?: unknown;
  /** What it does to the record. */
  op: SyncOp;
  /** `user`, `agent`, `system` or `migration`. */
  origin?: string | null | undefined;
  /** The record's key in that table, 1 to 500 bytes. */
  recordId: string;
  /** Of which schema version it is, where it is not the batch's. 0 or less is 1. */
  schemaVersion?: number | null | undefined;
  /** The space whose members share it: the caller must be an owner or editor there. Else it is the caller's alone. */
  spaceId?: string | null | undefined;
  /** The app's own table, 1 to 200 bytes. */
  table: string;
};

/** What a change does to its record. */
export type SyncOp =
  /** Takes it away. A newer write of any field brings it back. */
  | 'DELETE'
  /** Makes it, with all of its fields. */
  | 'INSERT'
  /** Writes some of its fields. */
  | 'UPDATE';

/** Why a mutation was refused: what programs branch on. */
export type UserErrorCode =
  /** It is built in and can neither be renamed nor deleted. */
  | 'BUILTIN'
  /** Another agent holds the worktree; `details` has the holder and the expiry. */
  | 'CLAIMED'
  /** Something else already has this name, path or remote, or changed meanwhile. */
  | 'CONFLICT'
  /** A project would become its own ancestor. */
  | 'CYCLE'
  /** The claim was lost or taken over since; claim again before writing. */
  | 'FENCED'
  /** The caller may see the thing but not do this to it. */
  | 'FORBIDDEN'
  /** The stored head is not the expected one; `details` has it. */
  | 'HEAD_MOVED'
  /** A value breaks a rule that the message names. */
  | 'INVALID'
  /** Other things still refer to it, or work in it would be lost. */
  | 'IN_USE'
  /** No such thing, or none that the caller may see. */
  | 'NOT_FOUND'
  /** It was already resolved. */
  | 'NOT_REPLAYABLE'
  /** More than is accepted at once; `details` has the limit. */
  | 'PAYLOAD_TOO_LARGE'
  /** A newer report is already stored; this one was dropped. */
  | 'STALE_REPORT'
  /** No result came within the time given. */
  | 'TIMED_OUT'
  /** The server does not know this schema version. */
  | 'UNSUPPORTED_VERSION';

/** A worktree by the branch that it is on: what a forge knows of it. An active one, or else the last that merged; refused with CONFLICT where several are active. */
export type WorktreeBranch = {
  /** The branch, without `refs/heads/`. */
  branchName: string;
  /** The host, by name; any when left out. */
  host?: string | null | undefined;
  /** The project. */
  project: ProjectRef;
};

/** A worktree by its name in a project on a host. */
export type WorktreeName = {
  /** The host, by name. */
  host?: string;
  /** The worktree's name. */
  name: string;
  /** The project. */
  project: ProjectRef;
};

/** A worktree by where it lies; only an active one has its path to itself. */
export type WorktreePath = {
  /** The host, by name. */
  host?: string;
  /** The directory on that host. */
  path: string;
};

/** How a worktree is named: exactly one of these. */
export type WorktreeRef =
  {   /** Its project and branch. */
  branch: WorktreeBranch; id?: never; name?: never; path?: never; }
  |  { branch?: never;   /** Its `id`, or the bare UUID. */
  id: string | number; name?: never; path?: never; }
  |  { branch?: never; id?: never;   /** Its project, host and name. */
  name: WorktreeName; path?: never; }
  |  { branch?: never; id?: never; name?: never;   /** Its host and directory. */
  path: WorktreePath; };

/** One worktree of a repository, as it was found. */
export type WorktreeReportInput = {
  /** The agent that works in it. */
  agentId?: string | null | undefined;
  /** What it counts against; else the project's default branch. */
  baseBranch?: string | null | undefined;
  /** The branch checked out; `HEAD` when detached. */
  branchName: string;
  /** The fence of the claim that the caller holds. */
  fence?: string | null | undefined;
  /** Its directory's name; gets a number if another path holds it. */
  name: string;
  /** When git was asked about it; else the report's time. */
  observedAt?: string | null | undefined;
  /** Where it lies on the host. */
  path: string;
  /** What git says of it. */
  state: GitStateInput;
  /** What it is for, by name; the stored type, else `feat`, when left out. */
  type?: string | null | undefined;
};

/** What a worktree needs next: the first of these that holds, merged before inactive before the rest. */
export type WorktreeStatus =
  /** Commits that the base branch does not have. */
  | 'AHEAD'
  /** The base branch has moved on. */
  | 'BEHIND'
  /** Nothing uncommitted, neither ahead nor behind. */
  | 'CLEAN'
  /** Both ahead and behind. */
  | 'DIVERGED'
  /** Gone from its host, or deactivated. */
  | 'INACTIVE'
  /** Its work has landed. */
  | 'MERGED'
  /** Files that are not committed. */
  | 'UNCOMMITTED';

export type FeedNamesQueryVariables = Exact<{
  ids: Array<string | number> | string | number;
}>;


export type FeedNamesQuery = { nodes: Array<
    | { id: string }
    | { id: string }
    | { id: string }
    | { id: string }
    | { id: string }
    | { id: string }
    | { slug: string, id: string }
    | { id: string }
    | { id: string }
    | { id: string }
    | { name: string, id: string }
   | null> };

export type InFlightWorkQueryVariables = Exact<{
  after?: string | null | undefined;
}>;


export type InFlightWorkQuery = { inFlightWork: { nodes: Array<{ name: string, branchName: string, path: string, status: WorktreeStatus, agentId: string | null, agentState: AgentState, gitState: { uncommittedFilesCount: number, aheadOfTrunk: number, behindTrunk: number, lastCommitAt: string | null, lastSyncAt: string | null }, project: { name: string, slug: string }, type: { name: string }, host: { name: string }, claim: { agentId: string, expiresAt: string } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type MirrorStateQueryVariables = Exact<{
  first: number;
}>;


export type MirrorStateQuery = { mirrorStatus: { attached: boolean, projectCount: number, rowCount: number | null, unclassifiedCount: number, problems: Array<{ problem: string, statement: string }> }, mirrorDrift: Array<{ maiId: string | null, field: string, ours: unknown, theirs: unknown, project: { slug: string } | null }> };

export type MirrorStatusQueryVariables = Exact<{ [key: string]: never; }>;


export type MirrorStatusQuery = { mirrorStatus: { attached: boolean, projectCount: number, rowCount: number | null, problems: Array<{ problem: string, statement: string }> } };

export type ReconcileMirrorMutationVariables = Exact<{
  input: ReconcileMirrorInput;
}>;


export type ReconcileMirrorMutation = { reconcileMirror: { changedCount: number | null, examinedCount: number | null, hasMore: boolean | null, endCursor: string | null, userErrors: Array<{ message: string }> } };

export type MirroredProjectQueryVariables = Exact<{
  slug: string;
}>;


export type MirroredProjectQuery = { project: { id: string } | null };

export type TokensQueryVariables = Exact<{ [key: string]: never; }>;


export type TokensQuery = { viewer: { principal: { handle: string }, tokens: Array<{ id: string, name: string, scopes: Array<Scope>, createdAt: string, expiresAt: string | null, lastUsedAt: string | null, revokedAt: string | null }> } };

export type CreateTokenMutationVariables = Exact<{
  input: CreateTokenInput;
}>;


export type CreateTokenMutation = { createToken: { token: string | null, record: { id: string, name: string, scopes: Array<Scope>, expiresAt: string | null } | null, userErrors: Array<{ code: UserErrorCode, message: string }> } };

export type RevokeTokenMutationVariables = Exact<{
  input: RevokeTokenInput;
}>;


export type RevokeTokenMutation = { revokeToken: { token: { name: string, revokedAt: string | null } | null, userErrors: Array<{ code: UserErrorCode, message: string }> } };

export type FeedEventsSubscriptionVariables = Exact<{
  topics?: Array<string> | string | null | undefined;
  project?: ProjectRef | null | undefined;
  after: string;
}>;


export type FeedEventsSubscription = { events: { cursor: string, at: string, topic: string, op: ChangeOp, entityId: string, projectId: string | null, agentId: string | null, principalId: string | null, changed: Array<string>, depth: number, data: unknown } };

export type FeedCursorQueryVariables = Exact<{ [key: string]: never; }>;


export type FeedCursorQuery = { cursor: string };

export type ReportRepositoryMutationVariables = Exact<{
  input: ReportWorktreesInput;
}>;


export type ReportRepositoryMutation = { reportWorktrees: { project: { slug: string } | null, worktrees: Array<{ id: string, status: WorktreeStatus, inFlight: boolean } | null> | null, userErrors: Array<{ code: UserErrorCode, message: string, path: Array<string> }> } };

export type WorktreeTypePrefixesQueryVariables = Exact<{ [key: string]: never; }>;


export type WorktreeTypePrefixesQuery = { worktreeTypes: Array<{ name: string, branchPrefix: string, worktreePrefix: string }> };

export type KnownWorktreesQueryVariables = Exact<{
  host: string;
  after?: string | null | undefined;
}>;


export type KnownWorktreesQuery = { worktrees: { nodes: Array<{ repositoryPath: string | null, project: { name: string, slug: string, remoteOrigin: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type ReportVanishedRepositoryMutationVariables = Exact<{
  input: ReportWorktreesInput;
}>;


export type ReportVanishedRepositoryMutation = { reportWorktrees: { project: { slug: string } | null, userErrors: Array<{ code: UserErrorCode, message: string, path: Array<string> }> } };

export type SyncChangedSubscriptionVariables = Exact<{
  appId: string;
  tables?: Array<string> | string | null | undefined;
  excludeClientId?: string | null | undefined;
  after: string;
}>;


export type SyncChangedSubscription = { syncChanged: { cursor: string, changes: Array<{ position: string, table: string, recordId: string, spaceId: string | null, op: SyncOp, data: unknown, fieldMeta: unknown, schemaVersion: number, createdAt: string }> } };

export type SentChangeFragment = { position: string, table: string, recordId: string, spaceId: string | null, op: SyncOp, data: unknown, fieldMeta: unknown, schemaVersion: number, createdAt: string };

export type SyncPullQueryVariables = Exact<{
  appId: string;
  tables?: Array<string> | string | null | undefined;
  since?: string | null | undefined;
  excludeClientId?: string | null | undefined;
  first?: number | null | undefined;
}>;


export type SyncPullQuery = { syncChanges: { cursor: string, hasMore: boolean, changes: Array<{ position: string, table: string, recordId: string, spaceId: string | null, op: SyncOp, data: unknown, fieldMeta: unknown, schemaVersion: number, createdAt: string }> } };

export type SyncRecordsQueryVariables = Exact<{
  appId: string;
  table: string;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type SyncRecordsQuery = { syncRecords: { nodes: Array<{ table: string, recordId: string, spaceId: string | null, data: unknown, fieldMeta: unknown, fieldPositions: unknown, schemaVersion: number, cursor: string, write: { at: string, position: string } | null, deletion: { at: string, position: string } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type SyncPushMutationVariables = Exact<{
  input: PushChangesInput;
}>;


export type SyncPushMutation = { pushChanges: { accepted: Array<{ changeId: string, position: string }> | null, userErrors: Array<{ code: UserErrorCode, message: string, path: Array<string> }> } };

export type ClaimForTestMutationVariables = Exact<{
  input: ClaimWorktreeInput;
}>;


export type ClaimForTestMutation = { claimWorktree: { claim: { agentId: string, session: string | null, fence: string, expiresAt: string } | null, worktree: { agentId: string | null, claim: { fence: string } | null } | null, userErrors: Array<{ code: UserErrorCode, message: string, details: unknown }> } };

export type RenewForTestMutationVariables = Exact<{
  input: RenewClaimInput;
}>;


export type RenewForTestMutation = { renewClaim: { claim: { fence: string, expiresAt: string } | null, userErrors: Array<{ code: UserErrorCode }> } };

export type ReleaseForTestMutationVariables = Exact<{
  input: ReleaseWorktreeInput;
}>;


export type ReleaseForTestMutation = { releaseWorktree: { worktree: { claim: { fence: string } | null } | null, userErrors: Array<{ code: UserErrorCode }> } };

export type ClaimedForTestQueryVariables = Exact<{
  claimed: boolean;
}>;


export type ClaimedForTestQuery = { worktrees: { nodes: Array<{ name: string }> } };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const SentChangeFragmentDoc = new TypedDocumentString(`
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
    `, {"fragmentName":"SentChange"}) as unknown as TypedDocumentString<SentChangeFragment, unknown>;
export const FeedNamesDocument = new TypedDocumentString(`
    query FeedNames($ids: [ID!]!) {
  nodes(ids: $ids) {
    id
    ... on Project {
      slug
    }
    ... on Worktree {
      name
    }
  }
}
    `) as unknown as TypedDocumentString<FeedNamesQuery, FeedNamesQueryVariables>;
export const InFlightWorkDocument = new TypedDocumentString(`
    query InFlightWork($after: String) {
  inFlightWork(first: 100, after: $after) {
    nodes {
      name
      branchName
      path
      status
      agentId
      agentState
      gitState {
        uncommittedFilesCount
        aheadOfTrunk
        behindTrunk
        lastCommitAt
        lastSyncAt
      }
      project {
        name
        slug
      }
      type {
        name
      }
      host {
        name
      }
      claim {
        agentId
        expiresAt
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
    `) as unknown as TypedDocumentString<InFlightWorkQuery, InFlightWorkQueryVariables>;
export const MirrorStateDocument = new TypedDocumentString(`
    query MirrorState($first: Int!) {
  mirrorStatus {
    attached
    problems {
      problem
      statement
    }
    projectCount
    rowCount
    unclassifiedCount
  }
  mirrorDrift(first: $first) {
    project {
      slug
    }
    maiId
    field
    ours
    theirs
  }
}
    `) as unknown as TypedDocumentString<MirrorStateQuery, MirrorStateQueryVariables>;
export const MirrorStatusDocument = new TypedDocumentString(`
    query MirrorStatus {
  mirrorStatus {
    attached
    problems {
      problem
      statement
    }
    projectCount
    rowCount
  }
}
    `) as unknown as TypedDocumentString<MirrorStatusQuery, MirrorStatusQueryVariables>;
export const ReconcileMirrorDocument = new TypedDocumentString(`
    mutation ReconcileMirror($input: ReconcileMirrorInput!) {
  reconcileMirror(input: $input) {
    changedCount
    examinedCount
    hasMore
    endCursor
    userErrors {
      message
    }
  }
}
    `) as unknown as TypedDocumentString<ReconcileMirrorMutation, ReconcileMirrorMutationVariables>;
export const MirroredProjectDocument = new TypedDocumentString(`
    query MirroredProject($slug: String!) {
  project(by: { slug: $slug }) {
    id
  }
}
    `) as unknown as TypedDocumentString<MirroredProjectQuery, MirroredProjectQueryVariables>;
export const TokensDocument = new TypedDocumentString(`
    query Tokens {
  viewer {
    principal {
      handle
    }
    tokens {
      id
      name
      scopes
      createdAt
      expiresAt
      lastUsedAt
      revokedAt
    }
  }
}
    `) as unknown as TypedDocumentString<TokensQuery, TokensQueryVariables>;
export const CreateTokenDocument = new TypedDocumentString(`
    mutation CreateToken($input: CreateTokenInput!) {
  createToken(input: $input) {
    token
    record {
      id
      name
      scopes
      expiresAt
    }
    userErrors {
      code
      message
    }
  }
}
    `) as unknown as TypedDocumentString<CreateTokenMutation, CreateTokenMutationVariables>;
export const RevokeTokenDocument = new TypedDocumentString(`
    mutation RevokeToken($input: RevokeTokenInput!) {
  revokeToken(input: $input) {
    token {
      name
      revokedAt
    }
    userErrors {
      code
      message
    }
  }
}
    `) as unknown as TypedDocumentString<RevokeTokenMutation, RevokeTokenMutationVariables>;
export const FeedEventsDocument = new TypedDocumentString(`
    subscription FeedEvents($topics: [String!], $project: ProjectRef, $after: Cursor!) {
  events(topics: $topics, project: $project, after: $after) {
    cursor
    at
    topic
    op
    entityId
    projectId
    agentId
    principalId
    changed
    depth
    data
  }
}
    `) as unknown as TypedDocumentString<FeedEventsSubscription, FeedEventsSubscriptionVariables>;
export const FeedCursorDocument = new TypedDocumentString(`
    query FeedCursor {
  cursor
}
    `) as unknown as TypedDocumentString<FeedCursorQuery, FeedCursorQueryVariables>;
export const ReportRepositoryDocument = new TypedDocumentString(`
    mutation ReportRepository($input: ReportWorktreesInput!) {
  reportWorktrees(input: $input) {
    project {
      slug
    }
    worktrees {
      id
      status
      inFlight
    }
    userErrors {
      code
      message
      path
    }
  }
}
    `) as unknown as TypedDocumentString<ReportRepositoryMutation, ReportRepositoryMutationVariables>;
export const WorktreeTypePrefixesDocument = new TypedDocumentString(`
    query WorktreeTypePrefixes {
  worktreeTypes {
    name
    branchPrefix
    worktreePrefix
  }
}
    `) as unknown as TypedDocumentString<WorktreeTypePrefixesQuery, WorktreeTypePrefixesQueryVariables>;
export const KnownWorktreesDocument = new TypedDocumentString(`
    query KnownWorktrees($host: String!, $after: String) {
  worktrees(
    filter: { host: $host, active: true }
    orderBy: NAME_ASC
    first: 100
    after: $after
  ) {
    nodes {
      repositoryPath
      project {
        name
        slug
        remoteOrigin
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
    `) as unknown as TypedDocumentString<KnownWorktreesQuery, KnownWorktreesQueryVariables>;
export const ReportVanishedRepositoryDocument = new TypedDocumentString(`
    mutation ReportVanishedRepository($input: ReportWorktreesInput!) {
  reportWorktrees(input: $input) {
    project {
      slug
    }
    userErrors {
      code
      message
      path
    }
  }
}
    `) as unknown as TypedDocumentString<ReportVanishedRepositoryMutation, ReportVanishedRepositoryMutationVariables>;
export const SyncChangedDocument = new TypedDocumentString(`
    subscription SyncChanged($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor!) {
  syncChanged(
    appId: $appId
    tables: $tables
    excludeClientId: $excludeClientId
    after: $after
  ) {
    changes {
      ...SentChange
    }
    cursor
  }
}
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
}`) as unknown as TypedDocumentString<SyncChangedSubscription, SyncChangedSubscriptionVariables>;
export const SyncPullDocument = new TypedDocumentString(`
    query SyncPull($appId: String!, $tables: [String!], $since: Cursor, $excludeClientId: String, $first: Int) {
  syncChanges(
    appId: $appId
    tables: $tables
    since: $since
    excludeClientId: $excludeClientId
    first: $first
  ) {
    changes {
      ...SentChange
    }
    cursor
    hasMore
  }
}
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
}`) as unknown as TypedDocumentString<SyncPullQuery, SyncPullQueryVariables>;
export const SyncRecordsDocument = new TypedDocumentString(`
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
    `) as unknown as TypedDocumentString<SyncRecordsQuery, SyncRecordsQueryVariables>;
export const SyncPushDocument = new TypedDocumentString(`
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
    `) as unknown as TypedDocumentString<SyncPushMutation, SyncPushMutationVariables>;
export const ClaimForTestDocument = new TypedDocumentString(`
    mutation ClaimForTest($input: ClaimWorktreeInput!) {
  claimWorktree(input: $input) {
    claim {
      agentId
      session
      fence
      expiresAt
    }
    worktree {
      agentId
      claim {
        fence
      }
    }
    userErrors {
      code
      message
      details
    }
  }
}
    `) as unknown as TypedDocumentString<ClaimForTestMutation, ClaimForTestMutationVariables>;
export const RenewForTestDocument = new TypedDocumentString(`
    mutation RenewForTest($input: RenewClaimInput!) {
  renewClaim(input: $input) {
    claim {
      fence
      expiresAt
    }
    userErrors {
      code
    }
  }
}
    `) as unknown as TypedDocumentString<RenewForTestMutation, RenewForTestMutationVariables>;
export const ReleaseForTestDocument = new TypedDocumentString(`
    mutation ReleaseForTest($input: ReleaseWorktreeInput!) {
  releaseWorktree(input: $input) {
    worktree {
      claim {
        fence
      }
    }
    userErrors {
      code
    }
  }
}
    `) as unknown as TypedDocumentString<ReleaseForTestMutation, ReleaseForTestMutationVariables>;
export const ClaimedForTestDocument = new TypedDocumentString(`
    query ClaimedForTest($claimed: Boolean!) {
  worktrees(filter: { claimed: $claimed }) {
    nodes {
      name
    }
  }
}
    `) as unknown as TypedDocumentString<ClaimedForTestQuery, ClaimedForTestQueryVariables>;