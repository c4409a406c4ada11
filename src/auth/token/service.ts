import { Refusal } from '../../kernel/errors.ts';
import { keyOf } from '../../kernel/ids.ts';
import type { RequestContext } from '../context.ts';
import { requirePrincipalKey } from '../principal/service.ts';
import type { Scope } from '../scopes.ts';
import { hashToken, makeToken, type TokenRow } from './model.ts';
import * as store from './store.ts';

export interface TokenRequest {
  principal?: string | null | undefined;
  name: string;
  scopes: readonly Scope[];
  expiresAt?: string | null | undefined;
}

/** @returns the token, for this one time, and its record */
export async function createToken(
  context: RequestContext,
  request: TokenRequest,
): Promise<{ token: string; record: TokenRow }> {
  const token = makeToken();
  const id = await store.insertToken(context, {
    principalId: request.principal == null ? context.viewer.principalId : requirePrincipalKey(request.principal),
    name: request.name,
    hash: hashToken(token),
    scopes: request.scopes,
    expiresAt: request.expiresAt ?? null,
  });
  return { token, record: await store.getToken(context, id) };
}

/** Ends a token, one's own or as admin any: at once here, on other gateways within the authenticator's `maxAgeMs`. */
export async function revokeToken(context: RequestContext, token: string): Promise<TokenRow> {
  const id = keyOf('Token', token);
  if (id === null) throw new Refusal('NOT_FOUND', `You have no token with the id ${JSON.stringify(token)}.`);
  await store.revokeToken(context, id);
  context.sessions.forgetToken(id);
  return store.getToken(context, id);
}
