import type { Kysely } from 'kysely';
import type { DB } from '../db/database.generated.ts';
import type { Database } from '../db/database.ts';
import type { Feed } from '../feed/feed.ts';
import { RequestError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Scope } from './scopes.ts';

/** Who is asking, as established from the token; immutable for the life of one request or one socket. */
export interface Viewer {
  principalId: string;
  handle: string;
  kind: 'user' | 'agent' | 'service';
  scopes: ReadonlySet<Scope>;
  /** Spaces that the principal is a member of; each matches `^[A-Za-z0-9_-]{1,64}$`. */
  spaceIds: readonly string[];
  /** The token's row; null for a JWT of an identity provider. */
  tokenId: string | null;
  /** When this proof of identity ends, in milliseconds since the epoch; null: not by itself. */
  expiresAtMs: number | null;
}

/** What is remembered of who was authenticated; a change of rights makes it forget. */
export interface Sessions {
  forgetToken(tokenId: string): void;
  forgetPrincipal(principalId: string): void;
}

/** What every resolver and service gets: whose request it is and how to reach the database for it. */
export interface RequestContext {
  viewer: Viewer;
  /** Request work: the role that row-level security binds. */
  db: Kysely<DB>;
  database: Database;
  sessions: Sessions;
  /** The log of what changes. */
  feed: Feed;
  /** How many scripts stand between this work and somebody who asked for it: 0 for every request. */
  depth: number;
  /** Where the log stood before anything of this operation was read, as a cursor: set where the operation asks for it. */
  readFrom?: string | null;
  /** What was visible to the write that is under way, before it: set by the write itself. */
  writtenFrom?: string | null;
  /** Whether nobody waits for the answer any more, set by whoever would send it: what is long may stop where it is. */
  caller: { gone: boolean };
  log: Logger;
  requestId: string;
}

/** @throws RequestError FORBIDDEN when the token lacks the scope; `admin` includes every other scope but chat and sync */
export function requireScope(viewer: Viewer, scope: Scope): void {
  if (!hasScope(viewer, scope)) {
    throw new RequestError('FORBIDDEN', `This needs the scope ${scope}; the token has ${describeScopes(viewer)}.`);
  }
}

/** Chats and sync rows are private from administrators too, so `admin` does not imply those two scopes. */
export function hasScope(viewer: Viewer, scope: Scope): boolean {
  return viewer.scopes.has(scope) || (viewer.scopes.has('admin') && scope !== 'chat' && scope !== 'sync');
}

function describeScopes(viewer: Viewer): string {
  return viewer.scopes.size === 0 ? 'none' : [...viewer.scopes].join(', ');
}
