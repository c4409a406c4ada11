import { fillChat, ownProjects } from './chats.ts';
import { startGateway, startPeer } from './contender.ts';
import { asLocal, type Databases, quickSize } from './databases.ts';
import { openChat } from './peers/chat-statements.ts';
import { compare, type Load } from './rounds.ts';
import { openRuntimePool } from './sql-load.ts';

/** What shows somebody the end of a chat. */
const query = `query Open($id: ID!) {
  project(by: { id: $id }) {
    messages(last: 50) {
      nodes { messageId sequenceNum role content createdAt }
      pageInfo { hasPreviousPage startCursor }
    }
  }
}`;

/** A chat must open as fast as any other, however long it is. */
const long = 100_000;
const short = 1_000;

export async function chatOpen(databases: Databases): Promise<void> {
  const urls = await databases.open('chat_open', quickSize);
  await using opened = new AsyncDisposableStack();
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const bare = await startPeer('bare handler', 'peers/bare-chat.ts', '/open', urls);
  opened.defer(() => bare.stop());
  const { principalId, longId, shortId } = await asLocal(urls, async (client, id) => {
    const [longId = '', shortId = ''] = await ownProjects(client, id, 2);
    await fillChat(client, longId, long);
    await fillChat(client, shortId, short);
    await client.query('vacuum (analyze) chat.project_messages, chat.project_counters');
    return { principalId: id, longId, shortId };
  });
  const body = (id: string) => JSON.stringify({ query, variables: { id } });
  const values = [principalId, longId];
  const loads: Load[] = [
    { contender: gateway, body: () => body(longId), check: checkEnd(long) },
    { contender: { ...gateway, name: 'Treeline, short chat' }, body: () => body(shortId), check: checkEnd(short) },
    { contender: bare, body: () => JSON.stringify(values), check: checkEnd(long) },
    {
      name: 'SQL alone',
      sql: openChat,
      pool: openRuntimePool(urls, opened),
      values: () => values,
      check: checkEnd(long),
    },
  ];
  console.log(`Chats of ${long} messages, and the short one of ${short}`);
  for (const connections of [1, 16]) await compare(loads, { connections });
}

interface Opened {
  data: {
    project: {
      messages: { nodes: { sequenceNum: number }[]; pageInfo: { hasPreviousPage: boolean; startCursor: string } };
    };
  };
}

/** All must have answered the same messages, or they are not comparable. */
function checkEnd(length: number): Load['check'] {
  return (answer) => {
    const { nodes, pageInfo } = (answer as Opened).data.project.messages;
    const isWhole = nodes.length === 50 && nodes.every((node, index) => node.sequenceNum === length - 50 + index);
    if (!isWhole || !pageInfo.hasPreviousPage || pageInfo.startCursor === null) {
      throw new Error(`expected the last 50 messages of ${length}`);
    }
  };
}
