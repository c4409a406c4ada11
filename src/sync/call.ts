import type { RawBuilder } from 'kysely';
import { callAsViewer } from '../auth/call.ts';
import type { RequestContext } from '../auth/context.ts';
import { Refusal } from '../kernel/errors.ts';

/** Calls a function of the schema `sync` as the viewer, who alone decides what is there for it. One row is answered. */
export async function callSync<Row>(context: RequestContext, call: RawBuilder<unknown>): Promise<Row> {
  const [row] = await callAsViewer<Row>(context, call, {}).catch((error: unknown) => Promise.reject(placed(error)));
  if (row === undefined) throw new Error('A function of sync that answers one row answered none.');
  return row;
}

/** The database says which field it means, and of a change which one; users know it by its place in what they gave. */
function placed(error: unknown): unknown {
  if (!(error instanceof Refusal) || error.path.length > 0) return error;
  const { index, field } = (error.details ?? {}) as { index?: number; field?: string | null };
  const ofInput = field === 'appId' || field === 'clientId';
  const item = index === undefined || ofInput ? [] : ['changes', String(index)];
  return error.at(['input', ...item, ...(field == null ? [] : [field])]);
}
