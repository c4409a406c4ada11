import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Kysely, sql } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';
import pg from 'pg';

/** Where the migrations of this version are; the same relative path from `src/db` and from a build's `dist/db`. */
export const migrationsDirectory = fileURLToPath(new URL('../../migrations/', import.meta.url));

const fileName = /^(\d{4}_[a-z0-9_]+)\.sql$/;

/** The names of the migrations in a directory, in the order in which they are applied. */
export async function listMigrations(directory: string): Promise<string[]> {
  const files = await readdir(directory);
  return files.flatMap((file) => fileName.exec(file)?.[1] ?? []).sort();
}

/** Plain SQL files as Kysely's migrations: forward only, each file in one transaction, its name is the file's. */
export function sqlMigrations(directory: string): MigrationProvider {
  return {
    getMigrations: async () => {
      const names = await listMigrations(directory);
      return Object.fromEntries(names.map((name) => [name, sqlMigration(directory, name)]));
    },
  };
}

function sqlMigration(directory: string, name: string): Migration {
  return {
    up: async (db: Kysely<unknown>) => {
      const text = await readFile(`${directory}/${name}.sql`, 'utf8');
      try {
        // Without parameters node-postgres speaks the simple protocol, which takes many statements at once.
        await sql.raw(text).execute(db);
      } catch (error) {
        throw located(error, `${name}.sql`, text);
      }
    },
  };
}

/** PostgreSQL gives a character's position in the whole text; a reader wants a line. */
function located(error: unknown, file: string, text: string): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  const position = Number(error.position ?? Number.NaN);
  const line = Number.isNaN(position) ? '' : `:${text.slice(0, position).split('\n').length}`;
  return new Error(`${file}${line}: ${error.message}${error.detail === undefined ? '' : ` (${error.detail})`}`, {
    cause: error,
  });
}
