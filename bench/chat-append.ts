import { randomUUID } from 'node:crypto';
import { type Message, makeMessage, ownProjects } from './chats.ts';
import { type Contender, startGateway, startPeer } from './contender.ts';
import { asLocal, type Databases, quickSize } from './databases.ts';
import { appendMessages } from './peers/chat-statements.ts';
import { compare, type Load } from './rounds.ts';
import { openRuntimePool } from './sql-load.ts';

const query = `mutation Append($input: AppendMessagesInput!) {
  appendMessages(input: $input) { insertedCount messages { messageId sequenceNum } userErrors { code message } }
}`;

/** Appends to one chat wait for each other until they are committed; those to several chats do not. */
const shapes = [
  { name: 'one chat, a message each', chats: 1, perAppend: 1 },
  { name: '200 chats, a message each', chats: 200, perAppend: 1 },
  { name: '200 chats, 100 messages each', chats: 200, perAppend: 100 },
] as const;

/** What is said by so many people at once: over the gateway, and without it. */
export async function chatAppend(databases: Databases): Promise<void> {
  const urls = await databases.open('chat_append', quickSize);
  await using opened = new AsyncDisposableStack();
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const bare = await startPeer('bare handler', 'peers/bare-chat.ts', '/append', urls);
  opened.defer(() => bare.stop());
  const pool = openRuntimePool(urls, opened);
  const [principalId, projectIds] = await asLocal(urls, async (client, id) => [id, await ownProjects(client, id, 200)]);
  for (const { name, chats, perAppend } of shapes) {
    console.log(`\n${name}:`);
    const appends = endlessAppends(projectIds.slice(0, chats), perAppend);
    const values = () => {
      const { projectId, messages } = appends();
      return [principalId, projectId, JSON.stringify(messages)];
    };
    const expecting = {
      check: (answer: unknown) => checkCount(answer as Appended, perAppend),
      expected: `"insertedCount" : ${perAppend},`,
    };
    await compare(
      [
        gatewayLoad(gateway, appends, perAppend),
        { contender: bare, body: () => JSON.stringify(values()), ...expecting },
        { name: 'SQL alone', sql: appendMessages, pool, values, ...expecting },
      ],
      { unit: { name: perAppend === 1 ? 'appends' : 'messages', perRequest: perAppend } },
    );
  }
}

interface Append {
  projectId: string;
  messages: Message[];
}

/** To each chat in its turn, and never the same message again. */
function endlessAppends(projectIds: readonly string[], perAppend: number): () => Append {
  const series = randomUUID();
  let number = 0;
  return () => {
    number += 1;
    const messages = Array.from({ length: perAppend }, (_, index) =>
      makeMessage(`${series}-${number}-${index}`, number),
    );
    return { projectId: projectIds[number % projectIds.length] ?? '', messages };
  };
}

function gatewayLoad(contender: Contender, appends: () => Append, perAppend: number): Load {
  return {
    contender,
    body: () => {
      const { projectId, messages } = appends();
      const input = {
        project: { id: projectId },
        messages: messages.map(({ message_id: messageId, role, content }) => ({
          messageId,
          role: role.toUpperCase(),
          content,
        })),
      };
      return JSON.stringify({ query, variables: { input } });
    },
    check: (answer) => checkCount((answer as { data: { appendMessages: Appended } }).data.appendMessages, perAppend),
    expected: `"insertedCount":${perAppend},`,
  };
}

interface Appended {
  insertedCount: number;
}

function checkCount({ insertedCount }: Appended, expected: number): void {
  if (insertedCount !== expected) throw new Error(`expected ${expected} new messages, got ${insertedCount}`);
}
