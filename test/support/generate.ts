import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { migrate } from '../../src/db/migrator.ts';
import { startEmbedded } from '../../src/embedded/embedded.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { dumpSchema } from './schema-dump.ts';

/**
 * Makes the files that are made from others (`npm run generate`), or, with `--check`, compares them with what would be
 * made and names those that differ. Always on the embedded PostgreSQL, so that every machine makes the same.
 */

interface GeneratedFile {
  path: string;
  content: string;
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const schemas = ['auth', 'registry', 'feed', 'chat', 'sync', 'mirror', 'mai', 'triggers'];
const log = createLogger('warn');

async function main(): Promise<void> {
  const check = process.argv.includes('--check');
  const files = [...(await fromDatabase()), ...(await fromSchema())];
  // The documents' types are made from the printed schema, so that has to be there (or be the same) before.
  const stale = check ? await differing(files) : await write(files);
  stale.push(...(await fromDocuments(check)));
  if (!check) return;
  if (stale.length === 0) {
    console.log('The generated files are what the code makes.');
    return;
  }
  console.error(`These files differ from what the code makes; run "npm run generate":\n  ${stale.join('\n  ')}`);
  process.exitCode = 1;
}

async function fromDatabase(): Promise<GeneratedFile[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'treeline-generate-'));
  // mkdtemp makes it private, but under root PostgreSQL runs as another user.
  await chmod(dataDir, 0o755);
  const server = await startEmbedded({ dataDir, log, durable: false });
  // An empty search path, so that every name in the dump is a full one.
  const pool = new pg.Pool({ connectionString: server.ownerUrl, options: '-c search_path=""' });
  try {
    await migrate(server.ownerUrl, { log });
    return [
      { path: 'src/db/database.generated.ts', content: await databaseTypes(pool) },
      { path: 'migrations/schema.generated.txt', content: await dumpSchema(pool, schemas) },
    ];
  } finally {
    await pool.end();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function databaseTypes(pool: pg.Pool): Promise<string> {
  // Loaded late, because it loads every dialect that it knows.
  const { generate, PostgresDialect: CodegenDialect } = await import('kysely-codegen');
  return generate({
    db: new Kysely({ dialect: new PostgresDialect({ pool }) }),
    dialect: new CodegenDialect(),
    includePattern: `(${schemas.join('|')}).*`,
    // As `openDatabase` reads them: see its type parsers.
    typeMapping: { timestamptz: 'string', date: 'string', int8: 'string' },
    outFile: null,
  });
}

async function fromSchema(): Promise<GeneratedFile[]> {
  const module = join(root, 'src/graphql/schema.ts');
  if (!existsSync(module)) {
    console.warn('src/graphql/schema.ts does not exist: schema.graphql is not printed.');
    return [];
  }
  const [{ schema }, { lexicographicSortSchema, printSchema }] = await Promise.all([
    import(pathToFileURL(module).href),
    import('graphql'),
  ]);
  return [{ path: 'schema.graphql', content: `${printSchema(lexicographicSortSchema(schema))}\n` }];
}

/** The types of the documents that tests and the command line send, by `codegen.ts`. */
async function fromDocuments(check: boolean): Promise<string[]> {
  const config = join(root, 'codegen.ts');
  if (!existsSync(config)) {
    console.warn('codegen.ts does not exist: the types of documents are not made.');
    return [];
  }
  const [{ generate }, { default: options }] = await Promise.all([
    import('@graphql-codegen/cli'),
    import(pathToFileURL(config).href),
  ]);
  const made = (await generate({ ...options, cwd: root, silent: true, errorsOnly: true }, false)) as {
    filename: string;
    content: string;
  }[];
  const files = made.map(({ filename, content }) => ({ path: relative(root, resolve(root, filename)), content }));
  return check ? differing(files) : write(files);
}

async function differing(files: readonly GeneratedFile[]): Promise<string[]> {
  const current = await Promise.all(files.map(({ path }) => readFile(join(root, path), 'utf8').catch(() => null)));
  return files.filter(({ content }, index) => current[index] !== content).map(({ path }) => path);
}

/** Writes what differs only, so that nothing watching the others is disturbed. */
async function write(files: readonly GeneratedFile[]): Promise<string[]> {
  const stale = await differing(files);
  for (const { path, content } of files) {
    if (!stale.includes(path)) continue;
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
    console.log(`wrote ${path}`);
  }
  return stale;
}

await main();
