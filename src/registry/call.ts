import type { RawBuilder } from 'kysely';
import type { RequestContext } from '../auth/context.ts';
import { callAs } from '../db/call.ts';
import { asRefusal } from '../db/refusals.ts';
import { registryConstraints } from './constraints.ts';

/**
 * Calls a function of the registry as the viewer: one round trip, one transaction.
 * @throws Refusal for everything that the caller can mend
 */
export async function callRegistry<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row[]> {
  try {
    const { rows, snapshot } = await callAs<Row>(context.db, context.viewer, call);
    // The first of several: what they all changed comes after it.
    context.writtenFrom ??= snapshot;
    return rows;
  } catch (error) {
    throw asRefusal(error, registryConstraints);
  }
}

/** As `callRegistry`, for a function that answers exactly one row. */
export async function callRegistryOnce<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row> {
  const [row] = await callRegistry<Row>(context, call);
  if (row === undefined) throw new Error('A function of the registry that answers one row answered none.');
  return row;
}
