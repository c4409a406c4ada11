import fc from 'fast-check';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { size } from '../../support/size.ts';
import { rows } from '../../support/sql.ts';
import { as, begin } from '../transaction.ts';
import {
  beginning,
  change,
  idsOf,
  makeSpace,
  makeUsers,
  type Page,
  type Place,
  push,
  pushAs,
  type ReadOptions,
  readAll,
  readPage,
} from './asking.ts';
import { database } from './setting.ts';

// ---- what happens -----------------------------------------------------------------------------------------------------

const writers = 5;
const pullers = 7;
const tables = ['note', 'tag'];
const clients = ['phone', 'laptop'];

/** Steps are taken one after the other; what overlaps is transactions. */
type Step =
  | { kind: 'write'; writer: number; author: number; shared: boolean; table: string; client: string; count: number }
  | { kind: 'end'; writer: number; commits: boolean }
  | { kind: 'pull'; puller: number }
  /** It keeps what it has, and where it is. */
  | { kind: 'keep'; puller: number }
  /** It forgets what came since it last kept anything. */
  | { kind: 'crash'; puller: number };

const someWriter = fc.nat(writers - 1);
const somePuller = fc.nat(pullers - 1);
const someSteps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        writer: someWriter,
        author: fc.nat(2),
        shared: fc.boolean(),
        table: fc.constantFrom(...tables),
        client: fc.constantFrom(...clients),
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('end' as const),
        writer: someWriter,
        commits: fc.integer({ max: 3, min: 0 }).map((n) => n > 0),
      }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('pull' as const), puller: somePuller }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('keep' as const), puller: somePuller }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), puller: somePuller }) },
  ),
  { minLength: 40, maxLength: 120, size: 'max' },
);

interface Written {
  id: string;
  author: string;
  shared: boolean;
  table: string;
  client: string;
}

interface Puller {
  user: string;
  options: ReadOptions;
  place: Place;
  got: string[];
  kept: { place: Place; got: string[] };
}

/** A page of what comes after a place, as the user that the transaction works for. */
type Reader = (client: pg.PoolClient, place: Place, options: ReadOptions) => Promise<Page>;

interface World {
  users: string[];
  space: string;
  open: Map<number, { client: pg.PoolClient; author: string; writes: Written[] }>;
  committed: Written[];
  pullers: Puller[];
}

async function makeWorld(): Promise<World> {
  const users = await makeUsers(database, 3);
  const [ada = '', bea = '', eve = ''] = users;
  const space = `of-${ada}`;
  await makeSpace(database, space, [
    [ada, 'owner'],
    [bea, 'editor'],
  ]);
  const puller = (user: string, options: ReadOptions): Puller => ({
    user,
    options,
    place: beginning,
    got: [],
    kept: { place: beginning, got: [] },
  });
  return {
    users,
    space,
    open: new Map(),
    committed: [],
    pullers: [
      puller(ada, { limit: 1 }),
      puller(ada, { limit: 2 }),
      puller(ada, { limit: 500 }),
      puller(bea, { limit: 3, tables: ['note'] }),
      puller(bea, { limit: 2, excludeClientId: 'phone' }),
      puller(bea, { limit: 1, tables: ['tag', 'note'], excludeClientId: 'laptop' }),
      puller(eve, { limit: 2 }),
    ],
  };
}

async function take(world: World, step: Step, read: Reader): Promise<void> {
  if (step.kind === 'write') return write(world, step);
  if (step.kind === 'end') return end(world, step.writer, step.commits);
  const puller = world.pullers[step.puller] as Puller;
  if (step.kind === 'keep') puller.kept = { place: puller.place, got: [...puller.got] };
  else if (step.kind === 'crash') Object.assign(puller, { place: puller.kept.place, got: [...puller.kept.got] });
  else await pull(puller, read);
}

let written = 0;

async function write(world: World, step: Extract<Step, { kind: 'write' }>): Promise<void> {
  let writer = world.open.get(step.writer);
  if (writer === undefined) {
    writer = { client: await database.runtime.connect(), author: world.users[step.author] ?? '', writes: [] };
    world.open.set(step.writer, writer);
    await begin(writer.client, writer.author);
  }
  const { author } = writer;
  // Only members write into the space.
  const shared = step.shared && author !== world.users[2];
  const writes = Array.from({ length: step.count }, () => {
    written += 1;
    return { id: `w${written}`, author, shared, table: step.table, client: step.client };
  });
  const changes = writes.map(({ id }) => change(id, { table_name: step.table, space_id: shared ? world.space : null }));
  await push(writer.client, changes, { clientId: step.client });
  writer.writes.push(...writes);
}

async function end(world: World, number: number, commits: boolean): Promise<void> {
  const writer = world.open.get(number);
  if (writer === undefined) return;
  world.open.delete(number);
  await writer.client.query(commits ? 'commit' : 'rollback');
  writer.client.release();
  if (commits) world.committed.push(...writer.writes);
}

/** One page. */
async function pull(puller: Puller, read: Reader): Promise<Page> {
  const page = await as(database.runtime, puller.user, (client) => read(client, puller.place, puller.options));
  puller.got.push(...idsOf(page.changes));
  puller.place = page.place;
  return page;
}

function expected(world: World, { user, options }: Puller): string[] {
  return world.committed
    .filter(({ author, shared }) => author === user || (shared && user !== world.users[2]))
    .filter(({ table, client }) => (options.tables?.includes(table) ?? true) && client !== options.excludeClientId)
    .map(({ id }) => id)
    .sort();
}

/** @throws Error when a puller does not end with every change that it may see, each once */
async function play(steps: readonly Step[], read: Reader): Promise<void> {
  const world = await makeWorld();
  try {
    for (const step of steps) await take(world, step, read);
  } finally {
    for (const number of [...world.open.keys()].reverse()) await end(world, number, true);
  }
  for (const puller of world.pullers) {
    // What began before the last commit ends before it.
    const windows = puller.place.next === null ? 1 : 2;
    for (let done = 0; done < windows; ) if ((await pull(puller, read)).complete) done += 1;
    expect(puller.got.toSorted()).toEqual(expected(world, puller));
  }
}

// ---- the naive ways ---------------------------------------------------------------------------------------------------

/** What `order` says is what a naive cursor remembers of the last row. */
function byColumn(order: 'created_at' | 'position'): Reader {
  return async (client, { after }, { tables = null, excludeClientId = null, limit = 500 }) => {
    await client.query('select sync.enter()');
    const found = await rows<Page['changes'][number] & { at: string }>(
      client,
      `select c.change_id, c.${order}::text as at from sync.sync_changes c
       where ($1::text is null or c.${order} > $1::${order === 'position' ? 'bigint' : 'timestamptz'})
         and ($2::text[] is null or c.table_name = any ($2)) and ($3::text is null or c.client_id <> $3)
       order by c.${order} limit $4`,
      [after, tables, excludeClientId, limit],
    );
    return {
      changes: found,
      complete: found.length < limit,
      place: { prev: null, next: null, after: found.at(-1)?.at ?? after },
    };
  };
}

/** Two write at once, and the first to write is the last to commit. */
const lateCommit: Step[] = [
  { kind: 'write', writer: 0, author: 0, shared: true, table: 'note', client: 'phone', count: 1 },
  { kind: 'write', writer: 1, author: 0, shared: true, table: 'note', client: 'phone', count: 1 },
  { kind: 'end', writer: 1, commits: true },
  ...Array.from({ length: pullers }, (_, puller): Step => ({ kind: 'pull', puller })),
  { kind: 'end', writer: 0, commits: true },
];

describe('whoever pulls', () => {
  test('gets every change once, whoever commits when, and wherever it was interrupted', async () => {
    await fc.assert(
      fc.asyncProperty(someSteps, (steps) => play(steps, readPage)),
      { numRuns: size(200), endOnFailure: true },
    );
  }, 600_000);

  test('gets a change that was written before and committed after what it has', async () => {
    await play(lateCommit, readPage);
  });

  test.each(['created_at', 'position'] as const)(
    'by %s alone would lose changes: these tests would see it',
    async (column) => {
      await expect(play(lateCommit, byColumn(column))).rejects.toThrow(/deeply equal/);
      const outcome = await fc.check(
        fc.asyncProperty(someSteps, (steps) => play(steps, byColumn(column))),
        { numRuns: 20, endOnFailure: true },
      );
      expect(outcome.failed).toBe(true);
    },
    120_000,
  );

  test('while many write at once gets every change once, in pages of any size', async () => {
    const [ada = '', bea = ''] = await makeUsers(database, 2);
    const space = `busy-${ada}`;
    await makeSpace(database, space, [
      [ada, 'owner'],
      [bea, 'editor'],
    ]);
    let writing = true;
    const committed = Promise.all(
      Array.from({ length: 5 }, async (_, n) => {
        const ids: string[] = [];
        for (let round = 0; round < size(200); round += 1) {
          const changes = Array.from({ length: 1 + ((n + round) % 3) }, (_, m) =>
            change(`${n}-${round}-${m}`, { space_id: n % 2 === 0 ? space : null }),
          );
          const client = await database.runtime.connect();
          await begin(client, ada);
          await push(client, changes);
          const commits = (n * round) % 5 !== 4;
          await client.query(commits ? 'commit' : 'rollback');
          client.release();
          if (commits) ids.push(...idsOf(changes));
        }
        return ids;
      }),
    ).finally(() => {
      writing = false;
    });
    const pulled = await Promise.all(
      [1, 7, 500].map(async (limit) => {
        const got: string[] = [];
        for (let place = beginning, last = false; ; ) {
          const page = await as(database.runtime, ada, (client) => readPage(client, place, { limit }));
          got.push(...idsOf(page.changes));
          place = page.place;
          if (page.complete && last) return got;
          // Everything is committed before the next window begins.
          if (page.complete) last = !writing;
        }
      }),
    );
    const all = (await committed).flat().sort();
    for (const got of pulled) expect(got.toSorted()).toEqual(all);
    const shared = await as(database.runtime, bea, (client) => readAll(client));
    expect(idsOf(shared.changes).sort()).toEqual(all.filter((id) => Number(id[0]) % 2 === 0));
  }, 120_000);

  test('gets nothing twice of a transaction that wrote before and after its window', async () => {
    const [ada = ''] = await makeUsers(database, 1);
    const slow = await database.runtime.connect();
    await begin(slow, ada);
    await push(slow, [change('first')]);
    await pushAs(database.runtime, ada, [change('between')]);
    const before = await as(database.runtime, ada, (client) => readAll(client));
    expect(idsOf(before.changes)).toEqual(['between']);
    await push(slow, [change('last')]);
    await slow.query('commit');
    slow.release();
    const since = await as(database.runtime, ada, (client) => readAll(client, before.place, { limit: 1 }));
    expect(idsOf(since.changes)).toEqual(['first', 'last']);
  });

  test('gets nothing that was stored after its window began, however late it asks for the rest', async () => {
    const [ada = ''] = await makeUsers(database, 1);
    await pushAs(database.runtime, ada, [change('a'), change('b'), change('c')]);
    const first = await as(database.runtime, ada, (client) => readPage(client, beginning, { limit: 2 }));
    await pushAs(database.runtime, ada, [change('d')]);
    const second = await as(database.runtime, ada, (client) => readPage(client, first.place, { limit: 2 }));
    expect([idsOf(first.changes), idsOf(second.changes)]).toEqual([['a', 'b'], ['c']]);
    const third = await as(database.runtime, ada, (client) => readPage(client, second.place));
    expect(idsOf(third.changes)).toEqual(['d']);
  });
});
