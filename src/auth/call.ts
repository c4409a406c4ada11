import type { RawBuilder } from 'kysely';
import { callAs } from '../db/call.ts';
import { asRefusal, type ConstraintMeaning } from '../db/refusals.ts';
import type { RequestContext } from './context.ts';

const meanings: Readonly<Record<string, ConstraintMeaning>> = {
  principals_handle_key: { code: 'CONFLICT', field: 'handle', message: 'Another principal has this handle.' },
  principals_external_id_key: {
    code: 'CONFLICT',
    field: 'externalId',
    message: 'Another principal is this subject of the identity provider.',
  },
  principals_handle_check: {
    code: 'INVALID',
    field: 'handle',
    message: 'Expected a handle of 1 to 100 letters, digits, dots, hyphens, underscores and @, not at its ends.',
  },
  tokens_name_check: { code: 'INVALID', field: 'name', message: 'Expected a name of 1 to 200 characters.' },
  spaces_id_check: {
    code: 'INVALID',
    field: 'id',
    message: 'Expected an id of 1 to 64 letters, digits, hyphens and underscores.',
  },
  spaces_name_check: { code: 'INVALID', field: 'name', message: 'Expected a name of 1 to 200 characters.' },
};

/**
 * Calls a function, or reads what row-level security protects, as the viewer: one round trip, one transaction.
 * @param explained what violated constraints mean to the caller
 * @throws Refusal for everything that the caller can mend
 */
export async function callAsViewer<Row>(
  context: RequestContext,
  call: RawBuilder<unknown>,
  explained: Readonly<Record<string, ConstraintMeaning>>,
): Promise<Row[]> {
  try {
    const { rows, snapshot } = await callAs<Row>(context.db, { ...context.viewer, depth: context.depth }, call);
    // The first of several: what they all changed comes after it.
    context.writtenFrom ??= snapshot;
    return rows;
  } catch (error) {
    throw asRefusal(error, explained);
  }
}

/** Reads or calls something of the schema `auth`. */
export function callAuth<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row[]> {
  return callAsViewer(context, call, meanings);
}
