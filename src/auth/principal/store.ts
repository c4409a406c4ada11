import { type RawBuilder, sql } from 'kysely';
import { type Order, type Page, pageCondition, pageTail } from '../../db/keyset.ts';
import { callAuth } from '../call.ts';
import type { RequestContext } from '../context.ts';
import type { Scope } from '../scopes.ts';
import type { PrincipalKind, PrincipalRow } from './model.ts';

export const principalOrder: Order = {
  tag: 'principal.handle',
  descending: false,
  keys: [
    { column: 'handle', type: 'text' },
    { column: 'id', type: 'uuid' },
  ],
};

const selected = sql`p.id, p.kind, p.handle, p.display_name, p.scopes, p.disabled_at`;

export function listPrincipalsById(context: RequestContext, ids: readonly string[]): Promise<PrincipalRow[]> {
  return callAuth(
    context,
    sql`(select ${selected} from auth.principals p where p.id = any(${ids}::uuid[])) as principal`,
  );
}

export function listPrincipals(context: RequestContext, page: Page): Promise<PrincipalRow[]> {
  return callAuth(
    context,
    sql`(select ${selected} from auth.principals p where ${pageCondition('p', principalOrder, page)}
      ${pageTail('p', principalOrder, page)}) as principal`,
  );
}

async function changed(context: RequestContext, call: RawBuilder<unknown>): Promise<string> {
  const [row] = await callAuth<{ id: string }>(context, sql`${call} as id`);
  if (row === undefined) throw new Error('a function of the schema auth answered no row');
  return row.id;
}

export interface NewPrincipal {
  kind: PrincipalKind;
  handle: string;
  displayName?: string | null | undefined;
  externalId?: string | null | undefined;
  scopes: readonly Scope[];
}

/** @returns the new principal's id */
export function insertPrincipal(context: RequestContext, input: NewPrincipal): Promise<string> {
  return changed(
    context,
    sql`auth.create_principal(${input.kind}, ${input.handle}, ${input.displayName ?? null}, ${input.externalId ?? null},
      ${input.scopes}::text[])`,
  );
}

export function updatePrincipal(context: RequestContext, id: string, patch: object): Promise<string> {
  return changed(context, sql`auth.update_principal(${id}::uuid, ${JSON.stringify(patch)}::jsonb)`);
}

export function setPrincipalDisabled(context: RequestContext, id: string, disabled: boolean): Promise<string> {
  return changed(context, sql`auth.set_principal_disabled(${id}::uuid, ${disabled})`);
}
