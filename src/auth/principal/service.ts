import { Refusal } from '../../kernel/errors.ts';
import { keyOf } from '../../kernel/ids.ts';
import { type RequestContext, requireScope } from '../context.ts';
import type { Scope } from '../scopes.ts';
import * as store from './store.ts';

/** @throws Refusal NOT_FOUND naming the id as it came */
export function requirePrincipalKey(id: string): string {
  const key = keyOf('Principal', id);
  if (key === null) throw new Refusal('NOT_FOUND', `No principal has the id ${JSON.stringify(id)}.`);
  return key;
}

export function createPrincipal(context: RequestContext, input: store.NewPrincipal): Promise<string> {
  requireScope(context.viewer, 'admin');
  return store.insertPrincipal(context, input);
}

export interface PrincipalChange {
  principal: string;
  displayName?: string | null | undefined;
  scopes?: readonly Scope[] | null | undefined;
}

/** What is absent stays; a null display name clears it. Other gateways notice within `maxAgeMs` of the authenticator. */
export async function updatePrincipal(context: RequestContext, change: PrincipalChange): Promise<string> {
  requireScope(context.viewer, 'admin');
  const patch = {
    ...(change.displayName === undefined ? {} : { display_name: change.displayName }),
    ...(change.scopes == null ? {} : { scopes: change.scopes }),
  };
  const id = await store.updatePrincipal(context, requirePrincipalKey(change.principal), patch);
  context.sessions.forgetPrincipal(id);
  return id;
}

export async function setPrincipalDisabled(
  context: RequestContext,
  principal: string,
  disabled: boolean,
): Promise<string> {
  requireScope(context.viewer, 'admin');
  const id = await store.setPrincipalDisabled(context, requirePrincipalKey(principal), disabled);
  context.sessions.forgetPrincipal(id);
  return id;
}
