import { type Kysely, sql } from 'kysely';
import type { DB } from '../../db/database.generated.ts';
import type { SignedRequest } from './signature.ts';

/** A route as a request finds it, before anybody knows who sends it. */
export interface RouteFound {
  id: string;
  dispatch_mode: 'async' | 'sync';
  signature: SignedRequest['signature'];
  secret: string | null;
  /** Of its script, in milliseconds. */
  timeout_ms: number;
}

/** @param path from `/hooks/` on */
export async function findRoute(db: Kysely<DB>, method: string, path: string): Promise<RouteFound | null> {
  const { rows } = await sql<RouteFound>`
    select id, dispatch_mode, signature, secret, timeout_ms from triggers.find_route(${method}, ${path})`.execute(db);
  return rows[0] ?? null;
}

export interface Accepted {
  outcome: 'accepted' | 'duplicate' | 'too_deep' | 'gone';
  /** Of the row of the outbox; null unless it was accepted. */
  id: string | null;
}

/** Writes what was asked for into the outbox, unless it is there already under its id. */
export async function acceptRequest(
  db: Kysely<DB>,
  request: {
    routeId: string;
    messageId: string | null;
    payload: unknown;
    depth: number;
    maxDepth: number;
    reply: { to: string; waitMs: number } | null;
  },
): Promise<Accepted> {
  const { routeId, messageId, payload, depth, maxDepth, reply } = request;
  const { rows } = await sql<Accepted>`
    select outcome, id from triggers.receive(${routeId}::uuid, ${messageId}, ${JSON.stringify(payload)}::jsonb, ${depth}::int,
      ${maxDepth}::int, ${reply?.to ?? null}::uuid, ${reply?.waitMs ?? null}::int)`.execute(db);
  const [accepted] = rows;
  if (accepted === undefined) throw new Error('triggers.receive answers one row');
  return accepted;
}
