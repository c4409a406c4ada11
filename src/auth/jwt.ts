import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose';
import { sql } from 'kysely';
import type { Config } from '../config.ts';
import type { Database } from '../db/database.ts';
import { RequestError, StartupError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Viewer } from './context.ts';
import { isScope, type Scope } from './scopes.ts';

/**
 * JWTs of an identity provider. Only asymmetric algorithms: with a symmetric one, whoever can read the provider's public
 * key could sign. Issuer, audience and expiry are required.
 */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const clockToleranceSeconds = 5;

/** No key set came. jose has no class of its own for an answer that is not 200 or no JSON: they are its generic error. */
const withoutKeys: readonly string[] = ['ERR_JOSE_GENERIC', 'ERR_JWKS_INVALID', 'ERR_JWKS_TIMEOUT'];

/** @throws RequestError UNAUTHENTICATED */
export type JwtVerifier = (jwt: string) => Promise<Viewer>;

interface SubjectRow {
  principal_id: string;
  kind: Viewer['kind'];
  handle: string;
  scopes: string[];
  space_ids: string[];
  disabled: boolean;
}

/** @returns null when no identity provider is configured */
export function createJwtVerifier(options: { database: Database; config: Config; log: Logger }): JwtVerifier | null {
  const { AUTH_JWKS_URL: url, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } = options.config;
  if (url === undefined || issuer === undefined || audience === undefined) return null;
  const keys = createRemoteJWKSet(new URL(url), { timeoutDuration: 5_000 });
  const firstScopes = readDefaultScopes(options.config);
  return async (jwt) => {
    const claims = await verified(
      jwtVerify(jwt, keys, {
        issuer,
        audience,
        algorithms,
        clockTolerance: clockToleranceSeconds,
        requiredClaims: ['sub', 'exp'],
      }),
      options.log,
    );
    return viewerOf(claims, issuer, firstScopes, options.database);
  };
}

function readDefaultScopes(config: Config): Scope[] {
  const unknown = config.AUTH_DEFAULT_SCOPES.filter((scope) => !isScope(scope));
  if (unknown.length > 0) throw new StartupError(`AUTH_DEFAULT_SCOPES names unknown scopes: ${unknown.join(', ')}.`);
  return config.AUTH_DEFAULT_SCOPES.filter(isScope);
}

async function verified(verification: Promise<{ payload: JWTPayload }>, log: Logger): Promise<JWTPayload> {
  try {
    return (await verification).payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) {
      throw new RequestError('UNAUTHENTICATED', 'The token has expired: sign in again.');
    }
    // Missing keys are the operator's concern, a bad token the caller's; neither learns about the other.
    if (!(error instanceof errors.JOSEError) || withoutKeys.includes(error.code)) {
      log.warn({ err: error }, "the identity provider's keys could not be fetched");
      throw new RequestError('UNAUTHENTICATED', 'The token cannot be checked at the moment: try again.');
    }
    // The message alone: the error itself carries the claims.
    log.debug({ reason: error.message }, 'a JWT was refused');
    throw new RequestError('UNAUTHENTICATED', 'The token is not valid here.');
  }
}

async function viewerOf(
  claims: JWTPayload,
  issuer: string,
  firstScopes: readonly Scope[],
  database: Database,
): Promise<Viewer> {
  const subject = `${issuer}|${claims.sub}`;
  const text = (claim: string) => (typeof claims[claim] === 'string' ? (claims[claim] as string) : null);
  const handle = text('preferred_username') ?? text('email') ?? claims.sub ?? 'user';
  const { rows } =
    await sql<SubjectRow>`select * from auth.principal_for_subject(${subject}, ${handle}, ${text('name')},
    ${[...firstScopes]}::text[])`.execute(database.runtime);
  const [found] = rows;
  if (found === undefined) throw new Error('auth.principal_for_subject answered no row');
  if (found.disabled) throw new RequestError('UNAUTHENTICATED', 'This principal is disabled: ask an administrator.');
  const granted = claimedScopes(claims);
  return {
    principalId: found.principal_id,
    handle: found.handle,
    kind: found.kind,
    scopes: new Set<Scope>(found.scopes.filter(isScope).filter((scope) => granted === null || granted.has(scope))),
    spaceIds: found.space_ids,
    tokenId: null,
    // By the provider's clock, as the verification above takes it.
    expiresAtMs: claims.exp === undefined ? null : (claims.exp + clockToleranceSeconds) * 1_000,
  };
}

/**
 * Scopes that the token itself is limited to, under whichever name providers write them, as text or list. They put their
 * own there as well (`openid`, `email`): only claims that name one of ours limit anything.
 */
function claimedScopes(claims: JWTPayload): ReadonlySet<string> | null {
  const names = [claims.scope, claims.scp, claims.scopes].flatMap((claim) =>
    Array.isArray(claim) ? claim.map(String) : typeof claim === 'string' ? claim.split(' ') : [],
  );
  return names.some(isScope) ? new Set(names) : null;
}
