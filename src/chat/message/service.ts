import { sql } from 'kysely';
import type { RequestContext } from '../../auth/context.ts';
import { findUnstorable } from '../../db/storable.ts';
import { Refusal, RequestError } from '../../kernel/errors.ts';
import { createTurns } from '../../kernel/turns.ts';
import { type ProjectReference, toProjectKey } from '../../registry/project/model.ts';
import { callChat, projectArgument } from '../call.ts';
import type { NewMessage, Receipt } from './model.ts';
import { findChat } from './store.ts';

export interface Appended {
  insertedCount: number;
  /** One for each message given, in their order. */
  receipts: Receipt[];
  /** Those under whose id something else was stored before. */
  conflicts: Refusal[];
}

/**
 * Appends to one chat go one after the other, and those that wait for it would each hold a connection that others need: so
 * most of them wait here. Two, so that the next one is at the database when the one before is done.
 */
const inTurn = createTurns(2);

/**
 * Appends messages in the order given. What is there already under its id is left as it is, so the same batch may be sent
 * again however often.
 * @throws Refusal NOT_FOUND, FORBIDDEN, or INVALID and PAYLOAD_TOO_LARGE naming the message: nothing was appended
 */
export async function appendMessages(
  context: RequestContext,
  reference: ProjectReference,
  messages: readonly NewMessage[],
): Promise<Appended> {
  const unstorable = messages.flatMap((message, index) => unstorableParts(message, index));
  if (unstorable.length > 0) throw new AggregateError(unstorable);
  const batch = messages.map(({ messageId, role, content, annotations, createdAt }) => ({
    message_id: messageId,
    role,
    content,
    annotations: annotations ?? null,
    created_at: createdAt ?? null,
  }));
  const statement = sql`chat.append_project_messages(${projectArgument(reference)}, ${JSON.stringify(batch)}::jsonb)`;
  const { inserted_count: insertedCount, messages: receipts } = await inTurn(
    JSON.stringify(toProjectKey(reference)),
    () => callChat<{ inserted_count: number; messages: Receipt[] }>(context, statement),
  );
  if (insertedCount === 0) context.writtenFrom = null;
  // What is stored says what was given, unless it differs: it need not come back, nor be there still.
  const whole = receipts.map((receipt, index) =>
    receipt.differs ? receipt : { ...receipt, content: batch[index]?.content, annotations: batch[index]?.annotations },
  );
  const conflicts = receipts.flatMap((receipt, index) => (receipt.differs ? [conflictOf(receipt, index)] : []));
  return { insertedCount, receipts: whole, conflicts };
}

function unstorableParts(message: NewMessage, index: number): Refusal[] {
  return (['messageId', 'content', 'annotations'] as const).flatMap((part) => {
    const found = findUnstorable(message[part]);
    if (found === null) return [];
    const where = [part, ...found.path].join('.');
    return new Refusal('INVALID', `Message ${index}: ${where} ${found.problem}. Nothing was appended.`, {
      path: ['input', 'messages', String(index), part],
      details: { index, path: [part, ...found.path] },
    });
  });
}

function conflictOf(receipt: Receipt, index: number): Refusal {
  return new Refusal(
    'CONFLICT',
    `Message ${index}: another message is stored under this messageId, and was left as it is. Give this one an id of its own.`,
    {
      path: ['input', 'messages', String(index), 'messageId'],
      details: { index, messageId: receipt.message_id, sequenceNum: receipt.sequence_num },
    },
  );
}

/**
 * Deletes all messages of a chat, if there are as many as the caller believes.
 * @throws Refusal CONFLICT with the true count in its details
 */
export async function clearMessages(
  context: RequestContext,
  reference: ProjectReference,
  expectedCount: number,
): Promise<{ clearedCount: number }> {
  const { cleared_count: clearedCount } = await callChat<{ cleared_count: number }>(
    context,
    sql`chat.clear_project_messages(${projectArgument(reference)}, ${expectedCount})`,
  );
  if (clearedCount === 0) context.writtenFrom = null;
  return { clearedCount };
}

/** Nothing tells an unknown project and somebody else's apart. */
export function notYours(): RequestError {
  return new RequestError(
    'FORBIDDEN',
    'You have no chat in such a project, or no longer: its owner can make you a member.',
  );
}

/**
 * The key of a project whose chat the viewer may read.
 * @throws RequestError FORBIDDEN
 */
export async function requireChat(context: RequestContext, reference: ProjectReference): Promise<string> {
  const { project_id: projectId, role } = await findChat(context, reference).catch((error: unknown) => {
    throw error instanceof Refusal && error.code === 'NOT_FOUND' ? notYours() : error;
  });
  if (projectId === null || role === null) throw notYours();
  return projectId;
}
