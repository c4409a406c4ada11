import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { rows, value } from '../support/sql.ts';

/** The older system as a writer: a login with nothing but its rights on `mai.projects`. */
export interface Theirs {
  role: string;
  url: string;
  pool: pg.Pool;
  /** One more connection as that role; whoever asks ends it. */
  connect(): Promise<pg.Client>;
  /** Ends the pool and drops the role with what it has here. Before the database is closed. */
  close(): Promise<void>;
}

/** A database whose two sides are written by two roles. */
export interface Sides {
  database: TestDatabase;
  /** As the owner of the schemas: plain SQL and SQL functions, as psql users. */
  ours: pg.Pool;
  /** As the older system. */
  theirs: pg.Pool;
  theirRole: string;
  /** One more connection as the older system; whoever asks ends it. */
  connectTheirs(): Promise<pg.Client>;
  close(): Promise<void>;
}

/** A database of its own for both sides. Call it in `beforeAll`, and `close` in `afterAll`. */
export async function openSides(): Promise<Sides> {
  const database = await createTestDatabase();
  const theirs = await openTheirs(database);
  return {
    database,
    ours: database.owner,
    theirs: theirs.pool,
    theirRole: theirs.role,
    connectTheirs: () => theirs.connect(),
    close: async () => {
      await theirs.close();
      await database.close();
    },
  };
}

/** The older system's side of a database that is there already, a gateway's say. */
export async function openTheirs(database: TestDatabase): Promise<Theirs> {
  const role = `mai_${randomUUID().replaceAll('-', '')}`;
  await database.owner.query(`
    create role ${role} login password 'theirs';
    grant usage on schema mai to ${role};
    grant select, insert, update, delete, truncate on mai.projects to ${role}`);
  const url = new URL(database.ownerUrl);
  url.username = role;
  url.password = 'theirs';
  const pool = new pg.Pool({ connectionString: url.href, max: 10, application_name: 'test-theirs' });
  return {
    role,
    url: url.href,
    pool,
    connect: async () => {
      const client = new pg.Client({ connectionString: url.href, application_name: 'test-their-client' });
      await client.connect();
      return client;
    },
    close: async () => {
      await pool.end();
      // Only a member may drop what a role owns; a role that has anything left cannot be dropped.
      await database.owner.query(`grant ${role} to current_user; drop owned by ${role} cascade; drop role ${role}`);
    },
  };
}

/** A project as the database has it. */
export interface Project {
  id: string;
  slug: string;
  name: string;
  description: string | null;
  status: string;
  remote_origin: string | null;
  trunk_path: string | null;
  managed_by: string[];
  unclassified: boolean;
  active: boolean;
  metadata: Record<string, unknown>;
}

/** A row of `mai.projects`. */
export interface Row {
  id: string;
  name: string;
  goal: string;
  repo: string;
  path: string;
  memory_group: string;
  status: string;
  metadata: Record<string, unknown>;
}

/** An event of topic `mirror`. */
export interface MirrorEvent {
  op: 'insert' | 'update' | 'delete';
  entity_id: string;
  changed: string[];
  direction: 'to_mai' | 'from_mai';
  mai_id: string;
}

/** A line of `mirror.drift`. */
export interface Difference {
  project_id: string | null;
  mai_id: string | null;
  field: string;
  ours: unknown;
  theirs: unknown;
}

const projectColumns =
  'id, slug, name, description, status, remote_origin, trunk_path, managed_by, unclassified, active, metadata';
const rowColumns = 'id, name, goal, repo, path, memory_group, status, metadata';

/** Columns of a project that begins; its slug is its name unless one is given. */
export type NewProject = Partial<Omit<Project, 'id' | 'active'>>;

/** Inserts a project managed by mai, with plain SQL, and so the row over there. @returns its id */
export async function makeProject(sides: Sides, columns: NewProject & { slug: string }): Promise<string> {
  const given = { name: columns.slug, managed_by: ['mai'], ...columns };
  const names = Object.keys(given);
  return value<string>(
    sides.ours,
    `insert into registry.projects (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')}) returning id`,
    Object.values(given),
  );
}

/** Inserts a row over there, as the older system, and so the project here. */
export async function makeRow(sides: Sides, columns: Partial<Row> & { id: string }): Promise<void> {
  const given = { name: columns.id, ...columns };
  const names = Object.keys(given);
  await sides.theirs.query(
    `insert into mai.projects (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')})`,
    Object.values(given),
  );
}

/** @throws Error when there is none */
export async function projectBySlug(sides: Sides, slug: string): Promise<Project> {
  return only(
    await rows<Project>(sides.ours, `select ${projectColumns} from registry.projects where slug = $1`, [slug]),
    `a project of slug ${slug}`,
  );
}

/** @throws Error when there is none */
export async function projectById(sides: Sides, id: string): Promise<Project> {
  return only(
    await rows<Project>(sides.ours, `select ${projectColumns} from registry.projects where id = $1`, [id]),
    `a project of id ${id}`,
  );
}

/** The project that has this row, or had it until it was deactivated. @throws Error when there is none */
export async function projectOf(sides: Sides, maiId: string): Promise<Project> {
  return only(
    await rows<Project>(
      sides.ours,
      `select ${projectColumns} from registry.projects where id = (select project_id from mirror.pairs where mai_id = $1)`,
      [maiId],
    ),
    `a project of row ${maiId}`,
  );
}

/** A row over there, or undefined. */
export async function findRow(sides: Sides, maiId: string): Promise<Row | undefined> {
  return (await rows<Row>(sides.theirs, `select ${rowColumns} from mai.projects where id = $1`, [maiId]))[0];
}

/** A row over there. @throws Error when there is none */
export async function rowById(sides: Sides, maiId: string): Promise<Row> {
  const row = await findRow(sides, maiId);
  return only(row === undefined ? [] : [row], `a row of id ${maiId}`);
}

/** The ids of the rows that a project is linked to. */
export async function linksOf(sides: Sides, projectId: string): Promise<string[]> {
  const links = await rows<{ ref_id: string }>(
    sides.ours,
    `select ref_id from registry.project_links
     where project_id = $1 and ref_type = 'mai-project' and rel = 'derived-from' order by ref_id`,
    [projectId],
  );
  return links.map(({ ref_id }) => ref_id);
}

/** Where the log is now, for `eventsSince`. */
export async function positionNow(sides: Sides): Promise<string> {
  return value<string>(sides.ours, 'select coalesce(max(position), 0)::text from feed.events');
}

/** The mirror's events after a position, in their order. */
export async function eventsSince(sides: Sides, position: string): Promise<MirrorEvent[]> {
  return rows<MirrorEvent>(
    sides.ours,
    `select op, entity_id, changed, data ->> 'direction' as direction, data ->> 'mai_id' as mai_id
     from feed.events where topic = 'mirror' and position > $1 order by position`,
    [position],
  );
}

/** What both sides do not agree on now. */
export async function driftOf(sides: Sides, projectIds: string[] | null = null): Promise<Difference[]> {
  return rows<Difference>(
    sides.ours,
    'select project_id, mai_id, field, ours, theirs from mirror.drift($1, 1000) order by mai_id, field',
    [projectIds],
  );
}

function only<T>(found: T[], what: string): T {
  const [one] = found;
  if (one === undefined) throw new Error(`expected ${what}, found none`);
  return one;
}
