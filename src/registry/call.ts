import type { RawBuilder } from 'kysely';
import { callAsViewer } from '../auth/call.ts';
import type { RequestContext } from '../auth/context.ts';
import { registryConstraints } from './constraints.ts';

/** Calls a function of the registry as the viewer. */
export function callRegistry<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row[]> {
  return callAsViewer(context, call, registryConstraints);
}

/** As `callRegistry`, for a function that answers exactly one row. */
export async function callRegistryOnce<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row> {
  const [row] = await callRegistry<Row>(context, call);
  if (row === undefined) throw new Error('A function of the registry that answers one row answered none.');
  return row;
}
