import type pg from 'pg';

/** A message as chat.append_project_messages takes it. */
export interface Message {
  message_id: string;
  role: 'user' | 'assistant';
  content: string;
}

const saying =
  'The tests of the ledger pass again: the rounding was at fault, not the clock. What is left is the migration, ' +
  'and somebody must look at the index.';

/** About 150 bytes are said in each. */
export function makeMessage(messageId: string, number: number): Message {
  return { message_id: messageId, role: number % 2 === 0 ? 'user' : 'assistant', content: `${number}. ${saying}` };
}

/** Projects that have chats of that principal's, with nothing in them. */
export async function ownProjects(client: pg.Client, principalId: string, count: number): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    `update registry.projects set owner_id = $1
     where id in (select id from registry.projects order by slug limit $2) returning id`,
    [principalId, count],
  );
  return rows.map(({ id }) => id);
}

const mostAtOnce = 1_000;

export async function fillChat(client: pg.Client, projectId: string, count: number): Promise<void> {
  for (let filled = 0; filled < count; filled += mostAtOnce) {
    const messages = Array.from({ length: Math.min(mostAtOnce, count - filled) }, (_, index) =>
      makeMessage(`filled-${filled + index}`, filled + index),
    );
    await client.query('select inserted_count from chat.append_project_messages($1, $2)', [
      projectId,
      JSON.stringify(messages),
    ]);
  }
}
