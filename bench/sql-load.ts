import pg from 'pg';
import type { DatabaseUrls } from './databases.ts';
import { type RequestRound, roundOf, seconds } from './interleave.ts';
import { runtimeOptions } from './peers/as-principal.ts';

/**
 * What the database is asked without any server before it, by node-postgres in this process: the limit of its side. Its
 * processor time is that of this process; what the database itself uses is in nobody's figures.
 */
export interface SqlLoad {
  name: string;
  /** Prepared under its name; answers one row, with the text `body`. */
  sql: { name: string; text: string };
  pool: pg.Pool;
  /** Made anew for each statement. */
  values: () => unknown[];
  /** Fails the run when the answer is not the expected one. */
  check: (answer: unknown) => void;
  /** Text that is in every good answer. */
  expected?: string;
}

/** Connections in the role of request work, as many as are asked for at once. */
export function openRuntimePool({ ownerUrl }: DatabaseUrls, opened: AsyncDisposableStack): pg.Pool {
  const pool = new pg.Pool({ connectionString: ownerUrl, max: 16, options: runtimeOptions });
  opened.defer(() => pool.end());
  return pool;
}

export async function verifySql(load: SqlLoad): Promise<void> {
  load.check(JSON.parse(await ask(load)));
}

/** @param connections each asks again as soon as it has its answer */
export async function runSql(load: SqlLoad, connections: number): Promise<RequestRound> {
  const cpuBefore = process.cpuUsage();
  const durationsMs: number[] = [];
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (let askedAt = performance.now(); askedAt < until; askedAt = performance.now()) {
        const body = await ask(load);
        durationsMs.push(performance.now() - askedAt);
        if (!body.includes(load.expected ?? '')) throw new Error(`${load.name} answered: ${body.slice(0, 500)}`);
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  return roundOf(durationsMs, {
    cpuSeconds: (user + system) / 1e6,
    seconds: (performance.now() - startedAt) / 1_000,
  });
}

async function ask({ pool, sql, values }: SqlLoad): Promise<string> {
  const { rows } = await pool.query<{ body: string }>({ ...sql, values: values() });
  return rows[0]?.body ?? '';
}
