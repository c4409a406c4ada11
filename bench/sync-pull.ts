import type pg from 'pg';
import type { Contender } from './contender.ts';
import type { Databases } from './databases.ts';
import { insertChanges, pushChanges, readChanges, selectChanges } from './peers/sync-statements.ts';
import { compare, type Load } from './rounds.ts';
import { appId, endlessNew, mostAtOnce, openSync } from './sync-changes.ts';

const query = `query Pull($appId: String!, $since: Cursor) {
  syncChanges(appId: $appId, since: $since, first: ${mostAtOnce}) {
    changes { position table recordId spaceId op data fieldMeta schemaVersion createdAt }
    cursor
    hasMore
  }
}`;

const size = { records: 20_000, changes: 100_000, others: 4 };
const news = 10;

/**
 * What somebody has missed: all of it, page by page as a new client pulls it, and a little of much. Over the gateway, without
 * it, and read from a plain table after a position: which loses what slow transactions write, and so is no cursor.
 */
export async function syncPull(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const { gateway, pool, principalId } = await openSync(databases, 'sync_pull', { size, opened });
  const pullers = [
    await pullAll(gatewaySide(gateway)),
    await pullAll(functionSide(pool, principalId)),
    await pullAll(plainSide(pool, principalId)),
  ];

  console.log(`\nTo the end, in pages of ${mostAtOnce}:`);
  await compare(
    pullers.map(({ all }) => all),
    { connections: 4, unit: { name: 'changes', perRequest: mostAtOnce } },
  );

  const { clientId, changes } = endlessNew(news)();
  const values = [principalId, appId, clientId, JSON.stringify(changes)];
  for (const sql of [pushChanges, insertChanges]) await pool.query({ ...sql, values });
  console.log(`\nThe ${news} that are new:`);
  for (const connections of [1, 16]) {
    await compare(
      pullers.map(({ little }) => little),
      { connections },
    );
  }
}

interface Page {
  changes: { position: string }[];
}

/** One who pulls, from one place to the next. */
interface Side<Place, Answer> {
  beginning: Place;
  ask(place: Place): Promise<Answer>;
  pageOf(answer: Answer): Page;
  /** Where to go on. */
  placeAfter(answer: Answer, place: Place): Place;
  hasMore(answer: Answer): boolean;
  /** Asks from each place in its turn. */
  load(places: readonly Place[], check: (answer: Answer) => void): Load;
}

/** Finds out where each page begins, and where the next one would that is not there yet. */
async function pullAll<Place, Answer>(side: Side<Place, Answer>): Promise<{ all: Load; little: Load }> {
  const places: Place[] = [];
  let place = side.beginning;
  for (let hasMore = true; hasMore; ) {
    const answer = await side.ask(place);
    if (side.pageOf(answer).changes.length > 0) places.push(place);
    place = side.placeAfter(answer, place);
    hasMore = side.hasMore(answer);
  }
  const expected = size.changes / mostAtOnce;
  if (places.length !== expected) throw new Error(`expected ${expected} pages, got ${places.length}`);
  const checkCount = (count: number) => (answer: Answer) => {
    const { length } = side.pageOf(answer).changes;
    if (length !== count) throw new Error(`expected ${count} changes, got ${length}`);
  };
  return { all: side.load(places, checkCount(mostAtOnce)), little: side.load([place], checkCount(news)) };
}

interface GatewayAnswer {
  data: { syncChanges: Page & { cursor: string; hasMore: boolean } };
}

function gatewaySide(contender: Contender): Side<string | null, GatewayAnswer> {
  const { url, headers } = contender;
  const bodyOf = (since: string | null) => JSON.stringify({ query, variables: { appId, since } });
  return {
    beginning: null,
    async ask(since) {
      const response = await fetch(url, { method: 'POST', headers, body: bodyOf(since) });
      return (await response.json()) as GatewayAnswer;
    },
    pageOf: ({ data }) => data.syncChanges,
    placeAfter: ({ data }) => data.syncChanges.cursor,
    hasMore: ({ data }) => data.syncChanges.hasMore,
    load: (places, check) => ({
      contender,
      body: inTurn(places.map(bodyOf)),
      check: (answer) => check(answer as GatewayAnswer),
      expected: '"hasMore":',
    }),
  };
}

interface SqlAnswer extends Page {
  complete: boolean;
  next: string;
}

interface Window {
  prev: string | null;
  next: string | null;
  after: string | null;
}

function functionSide(pool: pg.Pool, principalId: string): Side<Window, SqlAnswer> {
  const valuesOf = ({ prev, next, after }: Window) => [principalId, appId, prev, next, after];
  return {
    ...sqlSide('SQL alone', { pool, sql: readChanges, valuesOf }),
    beginning: { prev: null, next: null, after: null },
    placeAfter: ({ complete, next, changes }, { prev }) =>
      complete ? { prev: next, next: null, after: null } : { prev, next, after: changes.at(-1)?.position ?? null },
  };
}

function plainSide(pool: pg.Pool, principalId: string): Side<string, SqlAnswer> {
  return {
    ...sqlSide('plain SQL', {
      pool,
      sql: selectChanges,
      valuesOf: (position: string) => [principalId, appId, position],
    }),
    beginning: '0',
    placeAfter: ({ changes }, position) => changes.at(-1)?.position ?? position,
  };
}

interface SqlPull<Place> {
  pool: pg.Pool;
  sql: { name: string; text: string };
  valuesOf: (place: Place) => unknown[];
}

function sqlSide<Place>(
  name: string,
  { pool, sql, valuesOf }: SqlPull<Place>,
): Pick<Side<Place, SqlAnswer>, 'ask' | 'pageOf' | 'hasMore' | 'load'> {
  return {
    async ask(place) {
      const { rows } = await pool.query<{ body: string }>({ ...sql, values: valuesOf(place) });
      return JSON.parse(rows[0]?.body ?? '') as SqlAnswer;
    },
    pageOf: (answer) => answer,
    hasMore: ({ complete }) => !complete,
    load: (places, check) => ({
      name,
      sql,
      pool,
      values: inTurn(places.map(valuesOf)),
      check: (answer) => check(answer as SqlAnswer),
      expected: '"complete" : ',
    }),
  };
}

function inTurn<Value>(values: readonly Value[]): () => Value {
  let number = 0;
  return () => {
    number += 1;
    return values[number % values.length] as Value;
  };
}
