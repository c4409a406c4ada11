import type { Pool, PoolClient } from 'pg';
import type { Logger } from '../../kernel/logger.ts';

/**
 * What must happen by itself and seldom: partitions ahead of time, retention, pruning, vacuum. Every gateway looks once an
 * hour; an advisory lock lets one of them work at a time, and the times of the last runs are kept in the database, so that
 * neither restarts nor more gateways make anything run more often.
 */
export interface Task {
  /** By which its last run is known. */
  name: string;
  everyHours: number;
  statements: (client: PoolClient) => Promise<readonly string[]>;
}

const day = 24;

const tasksFor = (feedRetentionDays: number): readonly Task[] => [
  {
    name: 'feed_partitions',
    everyHours: day,
    statements: async () => ['select feed.ensure_partitions()'],
  },
  {
    name: 'feed_retention',
    everyHours: day,
    statements: async () => [`select feed.drop_old(${feedRetentionDays})`],
  },
  {
    name: 'activity_partitions',
    everyHours: day,
    statements: async () => ['select registry.ensure_activity_partitions()'],
  },
  {
    name: 'old_activities',
    everyHours: 7 * day,
    statements: async () => ['select registry.cleanup_old_activities(90)'],
  },
  {
    name: 'inactive_worktrees',
    everyHours: 30 * day,
    statements: async () => ['select count(*) from registry.prune_inactive_worktrees(30)'],
  },
  {
    name: 'vacuum',
    everyHours: 30 * day,
    statements: async (client) => {
      const { rows } = await client.query<{ statement: string }>(
        'select statement from registry.maintenance_vacuum() as statement',
      );
      return rows.map((row) => row.statement);
    },
  },
];

const lookEveryMs = 3_600_000;
const lockKey = 'registry.maintenance';

export interface Maintenance {
  /** Waits for a task in progress. */
  stop(): Promise<void>;
}

export interface MaintenanceOptions {
  ownerPool: Pool;
  log: Logger;
  feedRetentionDays: number;
  /** What other parts of the gateway must do seldom. */
  furtherTasks?: readonly Task[];
}

export function startMaintenance(options: MaintenanceOptions): Maintenance {
  let running = runDueTasks(options);
  const timer = setInterval(() => {
    running = running.then(() => runDueTasks(options));
  }, lookEveryMs);
  timer.unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}

/** Runs what is due, unless another gateway is at it. Never throws: what fails is logged and tried again in an hour. */
export async function runDueTasks({
  ownerPool,
  log,
  feedRetentionDays,
  furtherTasks = [],
}: MaintenanceOptions): Promise<void> {
  try {
    const client = await ownerPool.connect();
    try {
      // A session's lock, because vacuum cannot run in a transaction.
      const { rows } = await client.query<{ mine: boolean }>(
        'select pg_try_advisory_lock(hashtextextended($1, 0)) as mine',
        [lockKey],
      );
      if (rows[0]?.mine !== true) return;
      for (const task of [...tasksFor(feedRetentionDays), ...furtherTasks]) await runIfDue(client, task, log);
      await client.query('select pg_advisory_unlock(hashtextextended($1, 0))', [lockKey]);
    } finally {
      // Not back into the pool: closing the connection is what surely lets the lock go.
      client.release(true);
    }
  } catch (error) {
    log.warn({ err: error }, 'maintenance failed; it is tried again in an hour');
  }
}

async function runIfDue(client: PoolClient, task: Task, log: Logger): Promise<void> {
  const key = `maintenance.${task.name}`;
  // A new registry has nothing old in it: its first run is one period away, but for the partitions.
  const { rows } = await client.query<{ due: boolean }>(
    `insert into registry.metadata as m (key, value) values ($1, case when $3 then '-infinity' else now()::text end)
     on conflict (key) do update set value = m.value
     returning m.value::timestamptz <= now() - make_interval(hours => $2) as due`,
    [key, task.everyHours, task.name.endsWith('_partitions')],
  );
  if (rows[0]?.due !== true) return;
  const startedAt = performance.now();
  for (const statement of await task.statements(client)) await client.query(statement);
  await client.query('update registry.metadata set value = now()::text where key = $1', [key]);
  log.info({ task: task.name, durationMs: Math.round(performance.now() - startedAt) }, 'maintenance done');
}
