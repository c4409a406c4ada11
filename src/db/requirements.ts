import pg from 'pg';
import { StartupError } from '../kernel/errors.ts';
import type { Queryable } from './migrator.ts';
import { sqlstate } from './sqlstate.ts';

/**
 * What a server must be and allow, asked before anything is changed on it. Everything that is missing is named at once,
 * each with the statement that mends it: an operator who may not run it himself can hand the message on.
 */

const oldestVersion = 15;

interface Facts {
  major: number;
  database: string;
  encoding: string;
  owner: string;
  superuser: boolean;
  mayCreateInDatabase: boolean;
  mayCreateRoles: boolean;
  runtimeRoleExists: boolean;
  mayTakeOnRuntimeRole: boolean;
  mayGrantRuntimeRole: boolean;
  trigramsAvailable: boolean;
  trigramsTrusted: boolean;
  /** Where the extension is, or null when it is not in this database. */
  trigramsSchema: string | null;
  migrated: boolean;
  /** Schemas of ours that exist. */
  takenSchemas: string[];
}

/**
 * Checks the server and the rights of the role that owns (or will own) the schema.
 * @param owner a connection as the role of `DATABASE_URL`
 * @throws StartupError that lists each thing missing with the statement to run
 */
export async function checkRequirements(owner: Queryable): Promise<void> {
  const { version, major } = await serverVersion(owner);
  if (major < oldestVersion) {
    throw new StartupError(
      `Treeline needs PostgreSQL ${oldestVersion} or newer; DATABASE_URL leads to version ${version}. ` +
        'Use a newer server, or unset DATABASE_URL to run the embedded one.',
    );
  }
  const facts = { ...(await readFacts(owner, major)), major };
  const missing = [...missingInDatabase(facts), ...missingRoles(facts), ...missingTrigrams(facts)];
  if (missing.length === 0) return;
  const list = missing.map(({ what, mend }) => `  - ${what}\n      ${mend}`).join('\n');
  throw new StartupError(
    `The database "${facts.database}" does not allow what Treeline needs. ` +
      `As a superuser (or whoever may), connected to it, run:\n${list}`,
  );
}

interface Missing {
  what: string;
  /** A statement, with the names quoted. */
  mend: string;
}

function missingInDatabase(facts: Facts): Missing[] {
  const database = pg.escapeIdentifier(facts.database);
  const owner = pg.escapeIdentifier(facts.owner);
  const missing: Missing[] = [];
  if (facts.encoding !== 'UTF8') {
    missing.push({
      what: `the database has the encoding ${facts.encoding}, and names may be in any script; use a new one:`,
      mend: `CREATE DATABASE treeline OWNER ${owner} ENCODING 'UTF8' TEMPLATE template0;`,
    });
  }
  if (!facts.migrated && facts.takenSchemas.length > 0) {
    missing.push({
      what: `the schemas ${facts.takenSchemas.join(', ')} exist and are not Treeline's; use a database of its own:`,
      mend: `CREATE DATABASE treeline OWNER ${owner};`,
    });
  }
  if (!facts.mayCreateInDatabase) {
    missing.push({
      what: `the role ${owner} may not create schemas in the database`,
      mend: `GRANT CREATE ON DATABASE ${database} TO ${owner};`,
    });
  }
  return missing;
}

function missingRoles(facts: Facts): Missing[] {
  const owner = pg.escapeIdentifier(facts.owner);
  // From PostgreSQL 16 on a membership may be without the right to take the role on.
  const membership = `GRANT treeline_runtime TO ${owner}${facts.major >= 16 ? ' WITH SET TRUE' : ''};`;
  if (!facts.runtimeRoleExists) {
    if (facts.mayCreateRoles) return [];
    return [
      {
        what: `the role treeline_runtime, which request work takes on, is missing, and ${owner} may not create roles`,
        mend: `CREATE ROLE treeline_runtime NOLOGIN; ${membership}`,
      },
    ];
  }
  if (facts.mayTakeOnRuntimeRole || facts.mayGrantRuntimeRole) return [];
  return [{ what: `the role ${owner} may not take on the role treeline_runtime`, mend: membership }];
}

function missingTrigrams(facts: Facts): Missing[] {
  const create = 'CREATE EXTENSION pg_trgm WITH SCHEMA public;';
  if (facts.trigramsSchema === 'public') return [];
  if (facts.trigramsSchema !== null) {
    return [
      {
        what: `the extension pg_trgm is in the schema ${facts.trigramsSchema}, and the search expects it in public`,
        mend: 'ALTER EXTENSION pg_trgm SET SCHEMA public;',
      },
    ];
  }
  if (!facts.trigramsAvailable) {
    return [
      {
        what: "the server has not got the extension pg_trgm; install its contrib package (Debian's postgresql brings it), then:",
        mend: create,
      },
    ];
  }
  // A trusted extension needs the right to create in the database only, whose lack is named already.
  if (facts.superuser || facts.trigramsTrusted) return [];
  return [{ what: `the role ${pg.escapeIdentifier(facts.owner)} may not create the extension pg_trgm`, mend: create }];
}

/** The first statement at start, and so where a server that is not there shows. */
async function serverVersion(owner: Queryable): Promise<{ version: string; major: number }> {
  try {
    const { rows } = await owner.query<{ version: string; major: number }>(
      `select current_setting('server_version') as version,
         current_setting('server_version_num')::int / 10000 as major`,
    );
    const [server] = rows;
    if (server === undefined) throw new Error('the server answered no row about its version');
    return server;
  } catch (error) {
    throw unreachable(error) ?? error;
  }
}

function unreachable(error: unknown): StartupError | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  const code = String(error.code);
  const expected =
    error instanceof pg.DatabaseError
      ? code.startsWith(sqlstate.invalidAuthorizationClass) || code === sqlstate.invalidCatalogName
      : /^E[A-Z]+$/.test(code);
  if (!expected) return null;
  // The failure of several addresses (localhost is two) is an AggregateError without words of its own.
  return new StartupError(`The database cannot be reached with DATABASE_URL: ${error.message || code}.`, {
    cause: error,
  });
}

async function readFacts(owner: Queryable, major: number): Promise<Omit<Facts, 'major'>> {
  // The privilege 'SET' is unknown before 16, where every membership allows it; and no role, no question.
  const privilege = major >= 16 ? 'SET' : 'MEMBER';
  const { rows } = await owner.query<Omit<Facts, 'major'>>(
    `select
       current_database() as database,
       (select pg_encoding_to_char(encoding) from pg_database where datname = current_database()) as encoding,
       me.rolname as owner,
       me.rolsuper as superuser,
       has_database_privilege(current_database(), 'CREATE') as "mayCreateInDatabase",
       me.rolsuper or me.rolcreaterole as "mayCreateRoles",
       runtime.oid is not null as "runtimeRoleExists",
       coalesce(pg_has_role(runtime.oid, $1), false) as "mayTakeOnRuntimeRole",
       coalesce(
         me.rolsuper
         or ($2 and me.rolcreaterole)
         or pg_has_role(runtime.oid, 'MEMBER WITH ADMIN OPTION'), false
       ) as "mayGrantRuntimeRole",
       exists (select from pg_available_extensions where name = 'pg_trgm') as "trigramsAvailable",
       exists (select from pg_available_extension_versions where name = 'pg_trgm' and trusted) as "trigramsTrusted",
       (select extnamespace::regnamespace::text from pg_extension where extname = 'pg_trgm') as "trigramsSchema",
       to_regclass('treeline.migrations') is not null as migrated,
       array(select nspname::text from pg_namespace where nspname in ('auth', 'registry', 'feed', 'chat', 'sync', 'mirror', 'triggers') order by nspname)
         as "takenSchemas"
     from pg_roles as me
     left join pg_roles as runtime on runtime.rolname = 'treeline_runtime'
     where me.rolname = current_user`,
    // Before 16, CREATEROLE may grant any role that is no superuser.
    [privilege, major < 16],
  );
  const [facts] = rows;
  if (facts === undefined) throw new Error('the server answered no row about the current role');
  return facts;
}

/**
 * Checks, after the migrations, that request work is bound by row-level security: that the role it runs as, however it
 * got it (a login of its own, or taken on at connect), can neither ignore policies nor owns the tables.
 * @param runtime a connection as request work makes them
 * @throws StartupError with what to change
 */
export async function checkRuntime(runtime: Queryable): Promise<void> {
  const { rows } = await runtime.query<{
    role: string;
    superuser: boolean;
    bypass: boolean;
    owns: boolean;
    may: boolean;
  }>(
    `select me.rolname as role, me.rolsuper as superuser, me.rolbypassrls as bypass,
       exists (
         select from pg_class
         where relnamespace in (select oid from pg_namespace where nspname in ('auth', 'registry', 'feed', 'chat', 'sync', 'mirror', 'triggers'))
           and pg_has_role(me.oid, relowner, 'USAGE')
       ) as owns,
       exists (
         select from pg_roles as runtime
         where runtime.rolname = 'treeline_runtime' and pg_has_role(me.oid, runtime.oid, 'USAGE')
       ) as may
     from pg_roles as me where me.rolname = current_user`,
  );
  const [facts] = rows;
  if (facts === undefined) throw new Error('the server answered no row about the current role');
  const role = pg.escapeIdentifier(facts.role);
  const advice =
    'Let DATABASE_RUNTIME_URL name a plain login that is a member of treeline_runtime ' +
    "(CREATE ROLE treeline_gateway LOGIN PASSWORD '…'; GRANT treeline_runtime TO treeline_gateway;), or unset it.";
  if (facts.superuser || facts.bypass) {
    const attribute = facts.superuser ? 'a superuser' : 'a role with BYPASSRLS';
    throw new StartupError(`Request work would run as ${role}, ${attribute}, whom no policy binds. ${advice}`);
  }
  if (facts.owns) {
    throw new StartupError(
      `Request work would run as ${role}, who owns the tables and whom no policy binds. ${advice}`,
    );
  }
  if (!facts.may) {
    throw new StartupError(
      `Request work would run as ${role}, who has not the rights of treeline_runtime. ` +
        `Run: GRANT treeline_runtime TO ${role};`,
    );
  }
  const { rows: bound } = await runtime.query<{ request: boolean }>('select auth.is_request() as request');
  if (bound[0]?.request !== true) {
    throw new StartupError(`Request work would run as ${role} with the rights of an SQL administrator. ${advice}`);
  }
}
