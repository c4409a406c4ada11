import { sql } from 'kysely';
import type { Config } from '../config.ts';
import type { Database } from '../db/database.ts';
import { RequestError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Sessions, Viewer } from './context.ts';
import { createJwtVerifier, type JwtVerifier } from './jwt.ts';
import { isScope, type Scope } from './scopes.ts';
import { hashToken, isToken } from './token/model.ts';

/**
 * How long a proof of identity is remembered. Within one gateway a revocation acts at once; one made through another
 * gateway, or in SQL, acts here after this time at the latest.
 */
const maxAgeMs = 2_000;
const mostRemembered = 10_000;

interface TokenLookup {
  outcome: 'ok' | 'revoked' | 'expired' | 'disabled';
  token_id: string;
  principal_id: string;
  kind: Viewer['kind'];
  handle: string;
  scopes: string[];
  space_ids: string[];
  expires_at: string | null;
}

interface Remembered {
  viewer: Promise<Viewer>;
  /** Whose it is, once that is known. */
  who: Viewer | null;
  untilMs: number;
}

export interface Authenticator extends Sessions {
  /**
   * @param authorization the value of an `Authorization` header, or a bare token
   * @throws RequestError UNAUTHENTICATED for everything that proves nobody's identity
   */
  authenticate(authorization: string | null | undefined): Promise<Viewer>;
}

export function createAuthenticator(options: { database: Database; config: Config; log: Logger }): Authenticator {
  const { database, log } = options;
  const verifyJwt: JwtVerifier | null = createJwtVerifier(options);
  const remembered = new Map<string, Remembered>();

  function recall(key: string, nowMs: number): Promise<Viewer> | null {
    const known = remembered.get(key);
    if (known === undefined) return null;
    if (known.untilMs > nowMs) return known.viewer;
    remembered.delete(key);
    return null;
  }

  /** Everybody who shows the same token at once shares one look-up; failures are not remembered. */
  function remember(key: string, viewer: Promise<Viewer>, nowMs: number): Promise<Viewer> {
    const entry: Remembered = { viewer, who: null, untilMs: nowMs + maxAgeMs };
    remembered.set(key, entry);
    viewer.then(
      (who) => {
        entry.who = who;
      },
      () => {
        if (remembered.get(key) === entry) remembered.delete(key);
      },
    );
    // Maps keep the order of insertion: the first key is the oldest.
    for (const oldest of remembered.keys()) {
      if (remembered.size <= mostRemembered) break;
      remembered.delete(oldest);
    }
    return viewer;
  }

  async function lookUp(token: string): Promise<Viewer> {
    const { rows } = await sql<TokenLookup>`select * from auth.authenticate(${hashToken(token)})`.execute(
      database.runtime,
    );
    const [found] = rows;
    if (found === undefined) throw unauthenticated('The token is not known here.');
    if (found.outcome !== 'ok') throw unauthenticated(endings[found.outcome]);
    sql`select auth.touch_token(${found.token_id}::uuid)`
      .execute(database.runtime)
      .catch((error: unknown) => log.warn({ err: error }, "a token's use could not be noted"));
    return toViewer(found);
  }

  function forget(matches: (viewer: Viewer) => boolean): void {
    for (const [key, { who }] of remembered) {
      // A look-up under way may have read what held before, so that nobody who asks from now on may share it.
      if (who === null || matches(who)) remembered.delete(key);
    }
  }

  return {
    async authenticate(authorization) {
      const proof = /^(?:Bearer\s+)?(\S+)\s*$/i.exec(authorization ?? '')?.[1];
      if (proof === undefined || proof.toLowerCase() === 'bearer') {
        throw unauthenticated('Send a token: "Authorization: Bearer tl_…". The local one is in .treeline/token.');
      }
      const nowMs = Date.now();
      const key = hashToken(proof).toString('base64');
      const viewer = await (recall(key, nowMs) ?? remember(key, prove(proof), nowMs));
      if (viewer.expiresAtMs !== null && viewer.expiresAtMs <= nowMs) throw unauthenticated(endings.expired);
      return viewer;
    },
    forgetToken: (tokenId) => forget((viewer) => viewer.tokenId === tokenId),
    forgetPrincipal: (principalId) => forget((viewer) => viewer.principalId === principalId),
  };

  function prove(proof: string): Promise<Viewer> {
    if (isToken(proof)) return lookUp(proof);
    if (verifyJwt !== null && proof.split('.').length === 3) return verifyJwt(proof);
    return Promise.reject(unauthenticated('The token is not known here.'));
  }
}

const endings = {
  revoked: 'The token was revoked: use another one.',
  expired: 'The token has expired: use another one.',
  disabled: 'The principal of this token is disabled: ask an administrator.',
} as const;

function unauthenticated(message: string): RequestError {
  return new RequestError('UNAUTHENTICATED', message);
}

function toViewer(found: TokenLookup): Viewer {
  return {
    principalId: found.principal_id,
    handle: found.handle,
    kind: found.kind,
    scopes: new Set<Scope>(found.scopes.filter(isScope)),
    spaceIds: found.space_ids,
    tokenId: found.token_id,
    expiresAtMs: found.expires_at === null ? null : Date.parse(found.expires_at),
  };
}
