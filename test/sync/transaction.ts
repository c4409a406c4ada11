import type pg from 'pg';

/** Begins somebody's transaction, as request work does. */
export async function begin(client: pg.ClientBase, user: string, scopes = ''): Promise<void> {
  await client.query('begin');
  await client.query(
    `select set_config('app.current_user_id', $1, true), set_config('app.current_user_scopes', $2, true)`,
    [user, scopes],
  );
}

/** One transaction of somebody's, on a connection of its own; rolled back if the action fails. */
export async function as<T>(
  pool: pg.Pool,
  user: string,
  action: (client: pg.PoolClient) => Promise<T>,
  scopes = '',
): Promise<T> {
  const client = await pool.connect();
  try {
    await begin(client, user, scopes);
    const result = await action(client);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}
