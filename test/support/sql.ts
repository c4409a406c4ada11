import pg from 'pg';

/** What the database refused, as psql users see it. */
export interface SqlRefusal {
  code: string;
  sqlstate: string;
  message: string;
  details: Record<string, unknown> | null;
}

/** The refusal that a statement ends in; fails the test when it passes or fails for another reason. */
export async function refusalOf(statement: Promise<unknown>): Promise<SqlRefusal> {
  try {
    await statement;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    const [, code = '', facts] = /^([A-Z_]+)(?: (\{.*\}))?$/s.exec(error.detail ?? '') ?? [];
    return {
      code,
      sqlstate: error.code ?? '',
      message: error.message,
      details: facts === undefined ? null : (JSON.parse(facts) as Record<string, unknown>),
    };
  }
  throw new Error('expected a refusal, and the statement passed');
}

/** The first column of the first row. */
export async function value<T>(
  client: pg.Pool | pg.Client | pg.PoolClient,
  sql: string,
  values: unknown[] = [],
): Promise<T> {
  const { rows } = await client.query({ text: sql, values, rowMode: 'array' });
  return (rows[0] as unknown[] | undefined)?.[0] as T;
}

/** All rows. */
export async function rows<T extends object>(
  client: pg.Pool | pg.Client | pg.PoolClient,
  sql: string,
  values: unknown[] = [],
): Promise<T[]> {
  return (await client.query<T>(sql, values)).rows;
}
