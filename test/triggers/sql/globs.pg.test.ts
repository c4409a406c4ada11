import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf, rows, value } from '../../support/sql.ts';
import { log, match } from './matching.ts';
import { createTrigger, everyScope, owner, type Person, person, project, saveScript } from './setting.ts';

/** What a trigger may mean. */
const collections = ['projects', 'worktrees', 'claims', 'activities', 'messages', 'snapshots', 'mirror'];
/** What is in the log and no trigger's business. */
const others = ['hosts', 'worktree_types', 'executions', 'principals', 'tokens', 'project_members', 'space_members'];
const allOps = ['insert', 'update', 'delete'];

interface Write {
  app: string;
  table: string;
  op: string;
}
interface Happening {
  topic: string;
  op: string;
  writes: Write[];
}

/** The specification: `*`, an exact name, `prefix:*`. */
function globMatches(glob: string, collection: string): boolean {
  if (glob === '*') return true;
  return glob.endsWith(':*') ? collection.startsWith(glob.slice(0, -1)) : glob === collection;
}

/** The collections and ops that an event is of. */
function meanings({ topic, op, writes }: Happening): [collection: string, op: string][] {
  if (topic === 'sync_changes') return writes.map((write) => [`sync:${write.app}:${write.table}`, write.op]);
  return collections.includes(topic) ? [[topic, op]] : [];
}

const means = (glob: string, ops: string[]) => (meaning: [string, string]) =>
  globMatches(glob, meaning[0]) && (ops.length === 0 || ops.includes(meaning[1]));

/** Names as clients may choose them, from few characters, so that they meet. */
const name = fc
  .array(fc.constantFrom('a', 'b', ':', '*', '%', '_', '\\', "'", '"', ' ', 'ß', '\n', '🌲'), {
    minLength: 1,
    maxLength: 3,
  })
  .map((characters) => characters.join(''))
  .filter((one) => one.trim() !== '');
const write = fc.record({ app: name, table: name, op: fc.constantFrom(...allOps) });
/** One push is of one app. */
const happening: fc.Arbitrary<Happening> = fc.oneof(
  fc.record({
    topic: fc.constant<string>('sync_changes'),
    op: fc.constant<string>('insert'),
    writes: fc
      .tuple(name, fc.array(write, { minLength: 1, maxLength: 4 }))
      .map(([app, all]) => all.map((one) => ({ ...one, app }))),
  }),
  fc.record({
    topic: fc.constantFrom(...collections, ...others),
    op: fc.constantFrom(...allOps),
    writes: fc.constant<Write[]>([]),
  }),
);
const glob = fc.oneof(
  fc.constantFrom('*', 'sync:*', ...collections),
  name.map((app) => `sync:${app}:*`),
  fc.tuple(name, name).map(([app, table]) => `sync:${app}:${table}`),
);
const ops = fc.subarray(allOps);

let ada: Person;
let place: string;
let script: string;
beforeAll(async () => {
  ada = await person(everyScope);
  place = await project(ada);
  script = await saveScript(ada, null);
});

/** Triggers of the whole registry; those of earlier calls are gone. */
async function register(triggers: readonly { glob: string; ops: string[] }[]): Promise<string[]> {
  await owner.query('delete from triggers.triggers');
  const made = await rows<{ id: string }>(
    owner,
    `with given as materialized (
       select gen_random_uuid() as id, g.place, g.trigger from jsonb_array_elements($1::jsonb) with ordinality as g (trigger, place)
     ), made as (
       insert into triggers.triggers (id, script_id, kind, registered_by_principal, scopes) select id, $2, 'kv', $3, $4 from given
     ), meant as (
       insert into triggers.kv_trigger_details (trigger_id, collection_glob, ops)
       select id, trigger ->> 'glob', array(select jsonb_array_elements_text(trigger -> 'ops')) from given
     )
     select id from given order by place`,
    [JSON.stringify(triggers), script, ada.id, ada.scopes],
  );
  return made.map(({ id }) => id);
}

/** The trigger and event of each row that was written since the last call. */
async function taken(): Promise<{ trigger: string; position: string; collection: string; op: string }[]> {
  return rows(
    owner,
    `delete from triggers.outbox returning trigger_id as trigger, payload ->> 'position' as position,
       payload ->> 'collection' as collection, lower(payload ->> 'op') as op`,
  );
}

describe('a glob', () => {
  test('and ops mean what the specification says, of whatever is in the log', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ glob, ops }), { minLength: 1, maxLength: 12 }),
        fc.array(happening, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 5 }),
        async (wanted, happenings, limit) => {
          const triggers = wanted.filter((one) => isAccepted(one.glob));
          const ids = await register(triggers);
          const positions = await log(
            ...happenings.map(({ topic, op, writes }) => ({
              topic,
              op,
              entity_id: writes[0]?.app ?? 'entity',
              project_id: writes.length > 0 ? null : place,
              user_id: ada.id,
              data: { writes: writes.map((one) => [one.table, one.op]) },
            })),
          );
          await match({ limit });
          const found = await taken();
          const expected = triggers.flatMap((trigger, t) =>
            happenings.flatMap((one, h) =>
              meanings(one).some(means(trigger.glob, trigger.ops)) ? [`${ids[t]} ${positions[h]}`] : [],
            ),
          );
          expect(found.map((row) => `${row.trigger} ${row.position}`).sort()).toEqual(expected.sort());
          // Of several tables that a push wrote, one that the trigger means.
          for (const row of found) {
            const trigger = triggers[ids.indexOf(row.trigger)];
            const meant = meanings(happenings[positions.indexOf(row.position)] as Happening);
            expect(meant).toContainEqual([row.collection, row.op]);
            expect(means(trigger?.glob ?? '', trigger?.ops ?? [])([row.collection, row.op])).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test('that can match nothing is refused', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          glob,
          fc.string({ maxLength: 12, unit: fc.constantFrom('*', ':', 's', 'sync', 'work', 'trees', 'a', '\n') }),
        ),
        async (one) => {
          expect(await value<boolean>(owner, 'select triggers.is_glob($1)', [one])).toBe(isAccepted(one));
        },
      ),
      {
        numRuns: 200,
        examples: ['', '**', 'worktrees:*', 'hosts', 'executions', 'sync:', 'sync:notes', 'sync::*', 'Worktrees'].map(
          (one) => [one],
        ),
      },
    );
    const refused = refusalOf(createTrigger(ada, place, { kind: 'kv', collection_glob: 'worktree' }));
    expect((await refused).message).toContain('kv_trigger_details_collection_glob_check');
  });

  test('with an op that there is none is refused; twice the same op is one', async () => {
    const refused = refusalOf(createTrigger(ada, place, { kind: 'kv', collection_glob: '*', ops: ['upsert'] }));
    expect((await refused).message).toContain('kv_trigger_details_ops_check');
    const trigger = await createTrigger(ada, place, {
      kind: 'kv',
      collection_glob: '*',
      ops: ['update', 'insert', 'update'],
    });
    const kept = await value(owner, 'select ops from triggers.kv_trigger_details where trigger_id = $1', [trigger]);
    expect(kept).toEqual(['insert', 'update']);
  });
});

/** `*`, a collection, all of sync, of an app of it, or one table of it. */
function isAccepted(one: string): boolean {
  if (one === '*' || collections.includes(one) || one === 'sync:*') return true;
  const rest = one.startsWith('sync:') ? one.slice('sync:'.length) : '';
  if (one.endsWith('*')) return rest.endsWith(':*') && rest.length > 2;
  const colon = rest.indexOf(':', 1);
  return colon > 0 && colon < rest.length - 1;
}
