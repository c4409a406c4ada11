import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Effect, Json, RecordState } from '../../../src/sync/client/merge.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { size } from '../../support/size.ts';
import { rows } from '../../support/sql.ts';
import { effects, merged } from './states.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.close());

interface Row {
  fields: Record<string, { value: Json; at: string; position: string }>;
  written: { at: string; position: string } | null;
  deleted: { at: string; position: string } | null;
}

const moment = (name: string) => `case when m.${name}_at is not null then jsonb_build_object(
  'at', to_char(m.${name}_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'position', m.${name}_position::text) end`;

/** As the gateway merges them, in the order given. */
async function mergedInDatabase(changes: readonly Effect[]): Promise<RecordState> {
  const [row] = await rows<Row>(
    database.owner,
    `select ${moment('written')} as written, ${moment('deleted')} as deleted, coalesce((
        select jsonb_object_agg(d.key, jsonb_build_object('value', d.value, 'at', m.field_meta -> d.key,
          'position', m.field_positions ->> d.key))
        from jsonb_each(m.data) d
      ), '{}') as fields
    from (
      select (sync.merged(sync.state_of(c) order by i.ordinality)).*
      from jsonb_array_elements($1::jsonb) with ordinality i
      cross join lateral jsonb_populate_record(null::sync.sync_changes, i.value) c
    ) m`,
    [JSON.stringify(changes.map(toRow))],
  );
  if (row === undefined) throw new Error('expected a state');
  return row;
}

function toRow({ op, data, fieldMeta, at, position }: Effect) {
  return { op, data, field_meta: fieldMeta, created_at: at, position };
}

test('records merge here as they do in the database', async () => {
  await fc.assert(
    fc.asyncProperty(effects, async (changes) => {
      fc.pre(changes.length > 0);
      expect(merged(changes)).toEqual(await mergedInDatabase(changes));
    }),
    { numRuns: size(2_000) },
  );
});
