import type pg from 'pg';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { type GatewayOptions, startGateway, type TestGateway } from '../../support/gateway.ts';
import { rows, value } from '../../support/sql.ts';
import { type Receiver, startReceiver } from '../receiver.ts';
import { type Letter, lettersOf } from '../sql/matching.ts';
import { createTrigger, database, owner, type Person, project, saveScript, webhook } from '../sql/setting.ts';

/** A gateway on the file's database that runs triggers, with webhooks to receivers of tests; whoever starts it closes it. */
export function startDispatching({ environment, ...options }: GatewayOptions = {}): Promise<TestGateway> {
  return startGateway({
    ...options,
    database,
    environment: { TREELINE_DISPATCH: 'on', TREELINE_WEBHOOK_ALLOW: '127.0.0.0/8', ...environment },
  });
}

/** As `startDispatching`, for one test. */
export async function dispatching(options: GatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startDispatching(options);
  onTestFinished(() => gateway.close());
  return gateway;
}

/** For one test. */
export async function receiving(): Promise<Receiver> {
  const receiver = await startReceiver();
  onTestFinished(() => receiver.close());
  return receiver;
}

let listener: pg.Client;
let heard = Promise.withResolvers<void>();
beforeAll(async () => {
  listener = await database.connect();
  listener.on('notification', () => {
    heard.resolve();
    heard = Promise.withResolvers();
  });
  await listener.query(
    'listen treeline_feed; listen treeline_outbox; listen treeline_replies; listen treeline_triggers',
  );
});
afterAll(() => listener.end());

/** What a look finds, taken again at each signal of the database until there is something. */
export async function untilFound<T>(look: () => Promise<T | false | null | undefined>): Promise<T> {
  for (;;) {
    const { promise: next } = heard;
    const found = await look();
    if (found !== false && found !== null && found !== undefined) return found;
    await next;
  }
}

/** An attempt as it is told of. */
export interface Attempt {
  id: string;
  outbox_id: string;
  status: string;
  attempt: number;
  worker: string;
  result: unknown;
  error: string | null;
}

/** The attempts that a trigger or route set off, or of a script; the first one first. */
export function attemptsOf(id: string): Promise<Attempt[]> {
  return rows<Attempt>(
    owner,
    `select id, outbox_id, status, attempt, worker, result, error from triggers.executions
     where $1 in (trigger_id, script_id) order by started_at, id`,
    [id],
  );
}

/** As `attemptsOf`, as soon as so many have ended. */
export function untilEnded(id: string, count = 1): Promise<Attempt[]> {
  return untilFound(async () => {
    const ended = (await attemptsOf(id)).filter(({ status }) => status !== 'running');
    return ended.length >= count && ended;
  });
}

/** The dead letters of a trigger, as soon as there are so many. */
export function untilBuried(triggerId: string, count = 1): Promise<Letter[]> {
  return untilFound(async () => {
    const letters = await lettersOf(triggerId);
    return letters.length >= count && letters;
  });
}

/** Registers a worktree in a project, which is one event; @returns its position in the log */
export async function change(projectId: string): Promise<string> {
  const id = await value<string>(
    owner,
    `select registry.register_worktree($1, 'feat', w, 'feat/' || w, '/' || w) from cast(gen_random_uuid() as text) w`,
    [projectId],
  );
  return value<string>(
    owner,
    `select position::text from feed.events where topic = 'worktrees' and op = 'insert' and entity_id = $1`,
    [id],
  );
}

/** So many new worktrees at once: one event each. */
export async function changes(projectId: string, count: number): Promise<void> {
  await owner.query(
    `select registry.register_worktree($1, 'feat', w, 'feat/' || w, '/' || w) from generate_series(1, $2) n, concat(gen_random_uuid(), n) w`,
    [projectId, count],
  );
}

/** What `change` does. */
export const newWorktrees = { kind: 'kv', collection_glob: 'worktrees', ops: ['insert'] };

/** Deliveries to a receiver, as a script's columns. */
export const deliveringTo = ({ url, secret }: Pick<Receiver, 'url' | 'secret'>) => ({ ...webhook, url, secret });

/** A trigger of somebody's for new worktrees of a project of its own, with a script of its own. */
export async function scriptOnChange(
  who: Person,
  script: Record<string, unknown>,
  columns: Record<string, unknown> = {},
): Promise<{ projectId: string; scriptId: string; triggerId: string }> {
  const projectId = await project(who);
  const scriptId = await saveScript(who, projectId, script);
  const triggerId = await createTrigger(who, projectId, newWorktrees, { ...columns, script_id: scriptId });
  return { projectId, scriptId, triggerId };
}
