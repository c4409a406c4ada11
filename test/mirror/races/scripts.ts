import fc from 'fast-check';

/** A statement as it is sent. */
export interface Statement {
  text: string;
  values: unknown[];
}

export interface Transaction {
  isolation: 'read committed' | 'repeatable read' | 'serializable';
  statements: Statement[];
}

/** What each writer does, one transaction after the other. */
export interface Script {
  ours: Transaction[][];
  theirs: Transaction[][];
}

/** Few, so that writers meet. The last one is no slug: its project's is `p-5`. */
const ids = ['p0', 'p1', 'p2', 'p3', 'p4', 'P 5'];
const slugs = ['p0', 'p1', 'p2', 'p3', 'p4', 'p-5', 'p0-2'];
const id = fc.constantFrom(...ids);
const slug = fc.constantFrom(...slugs);

// All of them can be stored on both sides. What others' triggers look for is among them: see triggers.ts.
const name = fc.constantFrom('one', 'two', ' padded ', 'pass on', 'ünï');
const remotes = ['https://host.example/o/r1', 'git@host.example:o/r1.git', 'https://host.example/o/r2'];
const path = fc.constantFrom('/a', '/b', '/Upper');
const known = ['draft', 'active', 'published', 'sleeping', 'done', 'archived'];
const ownKeys = [
  { repo: 'kept here' },
  { repo: remotes[0] },
  { memory_group: 'm2' },
  { memory_group: 7 },
  { memory_group: null },
  { mai_status: 'stays' },
];
const metadata = fc.constantFrom({}, { k: 1 }, { k: 1, l: [null] }, { k: { deep: true }, ...ownKeys[0] }, ...ownKeys);

const here = {
  name,
  description: fc.constantFrom(null, '', 'goal', 'another goal', 'tag me'),
  trunk_path: fc.option(path),
  status: fc.constantFrom(...known),
  remote_origin: fc.constantFrom(null, ...remotes, 'https://user:secret@host.example/o/r2'),
  metadata: metadata.map((object) => JSON.stringify(object)),
};
const there = {
  name,
  goal: fc.constantFrom('', 'goal', 'another goal', 'tag me'),
  path: fc.constantFrom('', '/a', '/b', '/Upper'),
  status: fc.constantFrom(...known, 'on hold', ''),
  repo: fc.constantFrom('', ' ', ...remotes, 'https://user:secret@host.example/o/r1', 'no remote'),
  memory_group: fc.constantFrom('', 'm1', 'm2'),
  metadata: fc
    .oneof({ weight: 9, arbitrary: metadata }, { weight: 1, arbitrary: fc.constant(null) })
    .map((json) => JSON.stringify(json)),
};

function statement(text: string, ...values: fc.Arbitrary<unknown>[]): fc.Arbitrary<Statement> {
  return fc.tuple(...values).map((all) => ({ text, values: all }));
}

const edits = (
  table: string,
  key: string,
  which: fc.Arbitrary<string>,
  columns: Record<string, fc.Arbitrary<unknown>>,
) =>
  fc.oneof(
    ...Object.entries(columns).map(([column, any]) =>
      statement(`update ${table} set ${column} = $1 where ${key} = $2`, any, which),
    ),
  );

const editHere = edits('registry.projects', 'slug', slug, here);
const begin = statement(
  `insert into registry.projects (slug, name, description, remote_origin, status, metadata, managed_by)
   values ($1, $2, $3, $4, $5, $6, '{mai}')`,
  slug,
  name,
  here.description,
  here.remote_origin,
  here.status,
  here.metadata,
);
const register = statement(
  `select registry.register_project($1, $2, p_slug => $3, p_managed_by => '{mai,git}')`,
  name,
  fc.constantFrom(null, ...remotes),
  slug,
);
const manage = statement(
  'update registry.projects set managed_by = $1 where slug = $2',
  fc.constantFrom('{}', '{git}', '{mai}'),
  slug,
);
const renameSlug = statement('update registry.projects set slug = $1 where slug = $2', slug, slug);
const deactivate = statement('select registry.deactivate_project(id) from registry.projects where slug = $1', slug);
const revive = statement(
  'update registry.projects set deleted_at = null, managed_by = $1 where slug = $2',
  fc.constantFrom('{}', '{mai}', '{mai}'),
  slug,
);
const deleteForGood = statement('delete from registry.projects where slug = $1', slug);
const editSomeHere = statement(
  'update registry.projects set description = $1, status = $2 where slug = any ($3)',
  here.description,
  here.status,
  fc.subarray(slugs, { minLength: 2 }),
);

// There is nothing to heal, and nobody who writes at the same time may be hurt by it.
const heal = statement('select changed_count from mirror.reconcile($1)', fc.constantFrom('to_mai', 'from_mai'));

const editThere = edits('mai.projects', 'id', id, there);
const insert = statement(
  'insert into mai.projects (id, name, goal, repo, memory_group, status, metadata) values ($1, $2, $3, $4, $5, $6, $7)',
  id,
  name,
  there.goal,
  there.repo,
  there.memory_group,
  there.status,
  there.metadata,
);
const upsert = statement(
  'insert into mai.projects (id, name, path) values ($1, $2, $3) on conflict (id) do update set path = excluded.path',
  id,
  name,
  there.path,
);
const remove = statement('delete from mai.projects where id = $1', id);
const removeAndInsert = statement(
  `with gone as (delete from mai.projects where id = $1 returning id)
   insert into mai.projects (id, name, goal) select id, $2, $3 from gone`,
  id,
  name,
  there.goal,
);
const renameId = statement('update mai.projects set id = $1 where id = $2', id, id);
const editSomeThere = statement(
  'update mai.projects set goal = $1, status = $2 where id = any ($3)',
  there.goal,
  there.status,
  fc.subarray(ids, { minLength: 2 }),
);

/** What comes one after the other in one transaction, and undoes itself or takes what just became free. */
const together = (...all: fc.Arbitrary<Statement>[]) => fc.tuple(...all);
const alone = (weight: number, one: fc.Arbitrary<Statement>) => ({ weight, arbitrary: together(one) });

const ofUs = fc.oneof(
  alone(20, editHere),
  alone(8, begin),
  alone(6, register),
  alone(4, revive),
  alone(4, manage),
  alone(4, deactivate),
  alone(4, deleteForGood),
  alone(4, renameSlug),
  alone(4, editSomeHere),
  alone(1, heal),
  { weight: 2, arbitrary: together(manage, manage) },
  { weight: 2, arbitrary: together(renameSlug, begin) },
  { weight: 2, arbitrary: together(deleteForGood, begin) },
);

const ofThem = fc.oneof(
  alone(20, editThere),
  alone(10, insert),
  alone(4, upsert),
  alone(6, remove),
  alone(2, removeAndInsert),
  alone(4, renameId),
  alone(4, editSomeThere),
  { weight: 2, arbitrary: together(remove, insert) },
  { weight: 2, arbitrary: together(renameId, insert) },
);

/** Scripts of so many writers a side, each with up to so many transactions of some statements. */
export function scripts(writers: number, transactions: number): fc.Arbitrary<Script> {
  const transaction = (
    some: fc.Arbitrary<Statement[]>,
    ...isolations: Transaction['isolation'][]
  ): fc.Arbitrary<Transaction> =>
    fc.record({
      isolation: fc.constantFrom(...isolations),
      statements: fc.array(some, { minLength: 1, maxLength: 3 }).map((all) => all.flat()),
    });
  const side = (one: fc.Arbitrary<Transaction>) =>
    fc.array(fc.array(one, { minLength: Math.ceil(transactions / 2), maxLength: transactions, size: 'max' }), {
      minLength: writers,
      maxLength: writers,
    });
  const ofTheirs = fc.oneof(
    {
      weight: 40,
      arbitrary: transaction(ofThem, 'read committed', 'read committed', 'repeatable read', 'serializable'),
    },
    // Not of a snapshot of the past: TRUNCATE takes away what such a transaction does not see.
    { weight: 1, arbitrary: transaction(together(statement('truncate mai.projects')), 'read committed') },
  );
  return fc.record({
    ours: side(transaction(ofUs, 'read committed', 'read committed', 'repeatable read')),
    theirs: side(ofTheirs),
  });
}
