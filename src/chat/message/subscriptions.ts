import type { RequestContext } from '../../auth/context.ts';
import type { FeedEvent } from '../../feed/event.ts';
import { builder } from '../../graphql/builder.ts';
import { Change } from '../../graphql/change.ts';
import {
  addSubscription,
  cursorDescription,
  type LiveUpdate,
  type OwnOrder,
  type WithCursor,
} from '../../graphql/live.ts';
import { RequestError } from '../../kernel/errors.ts';
import { ProjectRefInput } from '../../registry/project/graphql.ts';
import { Message } from './graphql.ts';
import { inOrder, type MessageRow } from './model.ts';
import { notYours, requireChat } from './service.ts';
import { readMessages, readMessagesAfter } from './store.ts';

interface MessageUpdateShape extends WithCursor {
  message: MessageRow | null;
  clearedThrough: number | null;
}

const MessageUpdate = builder.objectRef<MessageUpdateShape>('MessageUpdate').implement({
  description: 'A message that was appended, or that all up to one were cleared.',
  extensions: { personal: true },
  fields: (t) => ({
    cursor: t.field({ type: 'Cursor', description: cursorDescription, resolve: (update) => update.cursor ?? '' }),
    change: t.field({
      type: Change,
      description: 'CREATED: a message was appended. DELETED: the chat was cleared.',
      resolve: ({ message }) => (message === null ? ('deleted' as const) : ('created' as const)),
    }),
    message: t.field({
      type: Message,
      nullable: true,
      description: 'The message; null for a clearing.',
      resolve: (update) => update.message,
    }),
    clearedThrough: t.int({
      nullable: true,
      description: 'Of a clearing, the sequenceNum of the last message that it deleted: drop all up to it.',
      resolve: (update) => update.clearedThrough,
    }),
  }),
});

type Update = LiveUpdate<MessageUpdateShape>;

addSubscription({
  name: 'messageAppended',
  description:
    "A project's chat as it goes on: each message once, in order, and when it is cleared. With `afterSequence`, or `after`, it begins with what was missed since, however long ago. Messages are never merged: a client that lags too far behind loses its stream with RESYNC_REQUIRED. For the project's owner and members; who is one no longer loses the stream with FORBIDDEN. Scope chat.",
  type: MessageUpdate,
  args: (arg) => ({
    project: arg({ type: ProjectRefInput, required: true, description: 'Whose chat.' }),
    afterSequence: arg.int({
      description:
        'The sequenceNum of the last message that the client has, -1 for none: what came after it is told first. Not together with `after`. CURSOR_EXPIRED when the chat has not come so far.',
    }),
  }),
  live: async ({ project, afterSequence }, context, after) => {
    if (afterSequence != null && after !== null) {
      throw new RequestError(
        'BAD_USER_INPUT',
        'Expected afterSequence or after, got both: they are two ways to say one thing.',
      );
    }
    if (afterSequence != null && afterSequence < -1) {
      throw new RequestError('BAD_USER_INPUT', `Expected afterSequence from -1, got ${afterSequence}.`);
    }
    const projectId = await requireChat(context, project);
    return {
      topics: ['messages', 'projects'],
      of: [`project:${projectId}`],
      coalesce: false,
      order: orderOf(projectId),
      from: afterSequence == null ? null : inOrder.ofMessage(afterSequence),
      open: async () => ({ follow: (events, shared) => follow(projectId, events, shared) }),
    };
  },
});

const factsOf = (event: FeedEvent) => event.data as { sequence_num?: number; cleared_through?: number };

async function follow(projectId: string, events: readonly FeedEvent[], context: RequestContext): Promise<Update[]> {
  const ofChat = events.filter(({ topic }) => topic === 'messages');
  if (ofChat.length === 0 && !events.some(mayTakeRights)) return [];
  const numbers = ofChat.flatMap((event) => factsOf(event).sequence_num ?? []);
  const { readable, messages } = await readMessages(context, projectId, numbers);
  if (!readable) throw notYours();
  const found = new Map(messages.map((message) => [message.sequence_num, message]));
  return ofChat.flatMap((event): Update[] => {
    const { sequence_num: sequenceNum, cleared_through: clearedThrough } = factsOf(event);
    if (clearedThrough !== undefined) return [clearing(clearedThrough, event)];
    const message = found.get(sequenceNum ?? -1);
    // What was cleared meanwhile is told by the clearing.
    return message === undefined ? [] : [appended(message, event)];
  });
}

function mayTakeRights({ topic, op, changed }: FeedEvent): boolean {
  return topic === 'projects' && (op === 'delete' || changed.includes('members') || changed.includes('owner_id'));
}

function appended(message: MessageRow, event: FeedEvent | null): Update {
  return { event, key: '', shape: { message, clearedThrough: null }, number: inOrder.ofMessage(message.sequence_num) };
}

function clearing(clearedThrough: number, event: FeedEvent | null): Update {
  return { event, key: '', shape: { message: null, clearedThrough }, number: inOrder.ofClearing(clearedThrough) };
}

const rowsAtOnce = 100;
const bytesAtOnce = 4_000_000;

function orderOf(projectId: string): OwnOrder<MessageUpdateShape> {
  return {
    of: projectId,
    numberOf(event) {
      if (event.topic !== 'messages' || event.project_id !== projectId) return null;
      const { sequence_num: sequenceNum, cleared_through: clearedThrough } = factsOf(event);
      return clearedThrough === undefined ? inOrder.ofMessage(sequenceNum ?? 0) : inOrder.ofClearing(clearedThrough);
    },
    async read(context, after) {
      const sequenceNum = inOrder.lastMessage(after);
      const chat = await readMessagesAfter(context, projectId, {
        sequenceNum,
        limit: rowsAtOnce,
        mostBytes: bytesAtOnce,
      });
      if (!chat.readable) throw notYours();
      // It would hide messages that are yet to come.
      if (sequenceNum >= chat.next_sequence) throw ahead(sequenceNum, chat.next_sequence);
      const { cleared_through: clearedThrough } = chat;
      const cleared =
        clearedThrough !== null && inOrder.ofClearing(clearedThrough) > after ? [clearing(clearedThrough, null)] : [];
      const last = chat.messages.at(-1)?.sequence_num ?? chat.next_sequence - 1;
      return {
        updates: [...cleared, ...chat.messages.map((message) => appended(message, null))],
        complete: last === chat.next_sequence - 1,
      };
    },
  };
}

function ahead(sequenceNum: number, next: number): RequestError {
  const has = next === 0 ? 'no messages yet' : `messages up to ${next - 1}`;
  return new RequestError(
    'CURSOR_EXPIRED',
    `The chat has ${has}, so it cannot go on after ${sequenceNum}: read it anew.`,
  );
}
