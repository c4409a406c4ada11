import { randomUUID } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import type { DB } from '../../db/database.generated.ts';
import { findUnstorable } from '../../db/storable.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { Json } from '../../kernel/json.ts';
import { callTriggersOnce } from '../call.ts';
import type { Replies } from '../dispatcher/replies.ts';
import type { ExecutionStatus } from '../execution/model.ts';

/** How a script ended for whom somebody waited. */
export interface Reply {
  executionId: string;
  status: Exclude<ExecutionStatus, 'running'>;
  result: unknown;
  error: string | null;
}

/** As much as a route takes. */
const mostInputBytes = 1_000_000;

/**
 * Runs a script once, as who saved it, and waits for its end.
 * @param options.timeoutMs how long to wait, in milliseconds; the script may take longer
 * @throws Refusal NOT_FOUND, FORBIDDEN, INVALID (scripts call one another too deep), TIMED_OUT
 */
export async function invokeScript(
  context: RequestContext,
  options: { scriptId: string; input: Json | undefined; timeoutMs: number },
): Promise<Reply> {
  const { scriptId, input, timeoutMs } = options;
  const unstorable = findUnstorable(input ?? null);
  if (unstorable !== null) {
    const where = ['input', ...unstorable.path].slice(0, 10).join('.');
    throw new Refusal('INVALID', `${where} ${unstorable.problem}.`, { path: ['input', 'input'] });
  }
  const bytes = Buffer.byteLength(JSON.stringify(input ?? null));
  if (bytes > mostInputBytes) {
    const message = `Expected an input of at most ${mostInputBytes} bytes as JSON, got ${bytes}.`;
    throw new Refusal('PAYLOAD_TOO_LARGE', message, { path: ['input', 'input'], details: { limit: mostInputBytes } });
  }
  const { principalId, handle } = context.viewer;
  const payload = {
    type: 'invoke',
    timestamp: new Date().toISOString(),
    input: input ?? null,
    caller: { id: principalId, handle },
  };
  return awaitReply({
    db: context.db,
    replies: context.triggers.replies,
    caller: context.caller,
    waitMs: timeoutMs,
    ask: (replyTo) =>
      callTriggersOnce(
        context,
        sql`(select triggers.invoke(${scriptId}::uuid, ${JSON.stringify(payload)}::jsonb, ${replyTo}::uuid, ${timeoutMs}::int,
          ${context.triggers.maxDepth}::int) as id) as invoked`,
      ),
  });
}

/**
 * Asks for a script and waits for its end. Whoever waits and goes away leaves a trace: what comes too late is kept as
 * abandoned, and what was not begun is not run.
 * @throws Refusal TIMED_OUT
 */
export async function awaitReply(options: {
  db: Kysely<DB>;
  replies: Replies;
  caller: { gone: boolean };
  waitMs: number;
  /** Writes the row of the outbox. */
  ask: (replyTo: string) => Promise<unknown>;
}): Promise<Reply> {
  const { db, replies, caller, waitMs } = options;
  const replyTo = randomUUID();
  const expected = replies.expect(replyTo);
  try {
    await options.ask(replyTo);
    // Not collected for somebody who is gone: it could not be delivered.
    const reply = await expected.within<Reply | 'gone'>(waitMs, async () =>
      caller.gone ? 'gone' : collect(db, replyTo),
    );
    if (reply !== null && reply !== 'gone') return reply;
    throw late(await leave(db, replyTo), waitMs);
  } finally {
    expected.forget();
  }
}

async function collect(db: Kysely<DB>, replyTo: string): Promise<Reply | null> {
  const { rows } = await sql<{ execution_id: string; status: Reply['status']; result: unknown; error: string | null }>`
    select execution_id, status, result, error from triggers.collect_reply(${replyTo}::uuid)`.execute(db);
  const [row] = rows;
  if (row === undefined) return null;
  const { execution_id: executionId, ...rest } = row;
  return { executionId, ...rest };
}

type Left = 'never begun' | 'finished' | 'running' | 'gone';

async function leave(db: Kysely<DB>, replyTo: string): Promise<Left> {
  const { rows } = await sql<{ left: Left }>`select triggers.leave_reply(${replyTo}::uuid) as left`.execute(db);
  return rows[0]?.left ?? 'gone';
}

function late(left: Left, waitMs: number): Refusal {
  const what = {
    'never begun': 'no dispatcher took the script up, and it will not be run: is one running?',
    gone: 'it was deleted meanwhile, with its project.',
    running: 'its result will be in abandonedExecutions.',
    finished: 'its result is in abandonedExecutions.',
  }[left];
  return new Refusal('TIMED_OUT', `No result came within ${waitMs} ms: ${what}`, { path: ['input', 'timeoutMs'] });
}
