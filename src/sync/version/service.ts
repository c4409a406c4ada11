import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { findUnstorable } from '../../db/storable.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { callSync } from '../call.ts';

/** How rows of one table of the version before become rows of this one. */
export interface Lift {
  table: string;
  /** From the name before to the name now. */
  rename?: Json | null | undefined;
  /** Fields that there are no longer. */
  drop?: readonly string[] | null | undefined;
}

export interface NewVersion {
  appId: string;
  version: number;
  lifts: readonly Lift[];
}

/**
 * Makes the next schema version of an app known. Rows of older ones stay as they are stored, and are lifted when they are
 * read or merged.
 * @throws Refusal INVALID, CONFLICT when the version is known and another
 */
export async function registerVersion(context: RequestContext, { appId, version, lifts }: NewVersion): Promise<number> {
  for (const [part, value] of Object.entries({ appId, lifts })) {
    const found = findUnstorable(value);
    if (found === null) continue;
    throw new Refusal('INVALID', `${[part, ...found.path].join('.')} ${found.problem}.`, { path: ['input', part] });
  }
  const stored = lifts.map(({ table, rename, drop }) => ({
    table,
    ...(rename == null ? {} : { rename }),
    ...(drop == null ? {} : { drop }),
  }));
  const registered = await callSync<{ version: number }>(
    context,
    sql`sync.register_version(${appId}, ${version}::int, ${JSON.stringify(stored)}::jsonb) as registered (version)`,
  );
  return registered.version;
}
