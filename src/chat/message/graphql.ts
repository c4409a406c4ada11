import type { RequestContext } from '../../auth/context.ts';
import { requireScope } from '../../auth/context.ts';
import { Principal, principalLoader } from '../../auth/principal/graphql.ts';
import { answerHeavy, loadHeavy, tooMuch } from '../../graphql/budget.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, groupedBy, loader } from '../../graphql/loaders.ts';
import { addMutation, toUserError } from '../../graphql/payload.ts';
import { selectedColumns, selectedOnNodes } from '../../graphql/selection.ts';
import { RequestError } from '../../kernel/errors.ts';
import { Project, ProjectRefInput, projectLoader } from '../../registry/project/graphql.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { type MessageRow, messageFieldColumns, type NewMessage } from './model.ts';
import { type Appended, appendMessages, clearMessages } from './service.ts';
import { listMessages, listMessagesById, messageOrder } from './store.ts';

export function messageLoader(context: RequestContext) {
  return loader<MessageRow | null>(
    context,
    'message',
    async (ids) =>
      byKey(await loadHeavy(context, (room) => listMessagesById(context, ids, room)), (message) => message.id),
    null,
  );
}

export const MessageRole = builder.enumType('MessageRole', {
  description: 'Who speaks.',
  values: {
    USER: { value: 'user', description: 'A person.' },
    ASSISTANT: { value: 'assistant', description: 'An assistant, such as a coding agent.' },
    SYSTEM: { value: 'system', description: 'What both are told by the program between them.' },
  } as const,
});

export const Message = builder.objectRef<MessageRow>('Message');

builder.node(Message, {
  description:
    "A message of a project's chat. Never changed, and never deleted but with all others. For the project's owner and members.",
  id: { resolve: (message) => message.id },
  extensions: { personal: true },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'chat');
    return messageLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'sequence_num' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (m) => m.id }),
    messageId: t.exposeString('message_id', {
      description: "The client's own id: what is sent twice under it is one message. Unique within the project.",
    }),
    sequenceNum: t.exposeInt('sequence_num', {
      description: 'Its place in the conversation: from 0, without holes, never used again.',
    }),
    role: t.field({ type: MessageRole, description: 'Who speaks.', resolve: (message) => message.role }),
    content: t.field({
      type: 'JSON',
      description: 'What is said, as chat SDKs write it: a string, an array of parts, or an object.',
      resolve: async (message, _args, context) => (await whole(message, context)).content,
    }),
    annotations: t.field({
      type: 'JSON',
      nullable: true,
      description: 'What a program notes about it; null when nothing.',
      resolve: async (message, _args, context) => (await whole(message, context)).annotations ?? null,
    }),
    author: t.field({
      type: Principal,
      nullable: true,
      description: 'Who appended it.',
      resolve: (message, _args, context) =>
        message.author_id === null ? null : principalLoader(context).load(message.author_id),
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: "When it was said, by the client's clock where it told. The order is that of `sequenceNum`.",
      resolve: (message) => message.created_at,
    }),
    project: t.field({
      type: Project,
      description: 'The project whose chat it is in. Scope registry:read.',
      resolve: async (message, _args, context) => {
        const project = await projectLoader(context).load(message.project_id);
        if (project === null) throw new Error(`message ${message.id} has no project`);
        return project;
      },
    }),
  }),
});

/**
 * The message with its content, wherever it was not read along: of one that differs from what was appended.
 * @throws RequestError LIMIT_EXCEEDED
 */
async function whole(message: MessageRow, context: RequestContext): Promise<MessageRow> {
  if ('content' in message || 'annotations' in message) {
    answerHeavy(context, message);
    return message;
  }
  const loaded = await messageLoader(context).load(message.id);
  if (loaded === null) throw new RequestError('RESYNC_REQUIRED', 'The chat was cleared meanwhile: read it again.');
  answerHeavy(context, loaded);
  return loaded;
}

const MessageConnection = builder.connectionObject(
  { type: Message, name: 'MessageConnection', description: 'One page of messages.' },
  { name: 'MessageEdge', description: 'A message with its cursor.' },
);

builder.objectField(Project, 'messages', (t) =>
  t.connection(
    {
      type: Message,
      description:
        'Its chat, in the order of the conversation: `last: 50` opens it at its end, `before` goes back from there. A page of large messages may hold fewer than asked for, and says that there are more. Empty for all but owner and members. Scope chat.',
      extensions: { personal: true },
      resolve: async (project, args, context, info) => {
        const page = readPage(args, messageOrder);
        const names = selectedColumns(selectedOnNodes(info), messageFieldColumns);
        const list = (ids: readonly string[], roomBytes: number) =>
          listMessages(context, ids, { names, page, roomBytes });
        const rows = await loader<MessageRow[]>(
          context,
          `project.messages:${JSON.stringify([page, names])}`,
          async (ids) =>
            groupedBy(await loadHeavy(context, (room) => list(ids, room)), (message) => message.project_id),
          [],
        ).load(project.id);
        const fitting = rows.filter(({ fits }) => fits !== false).length;
        if (fitting === 0 && rows.length > 0) throw tooMuch();
        return toConnection(rows, { ...page, limit: Math.min(page.limit, fitting) }, messageOrder);
      },
    },
    MessageConnection,
  ),
);

const MessageInput = builder.inputRef<NewMessage>('MessageInput').implement({
  description: 'A message to append.',
  fields: (t) => ({
    messageId: t.string({
      required: true,
      description: "The client's own id, 1 to 500 bytes: sent again under it, the message is not appended twice.",
    }),
    role: t.field({ type: MessageRole, required: true, description: 'Who speaks.' }),
    content: t.field({
      type: 'JSON',
      required: true,
      description: 'A string, an array of parts, or an object; with annotations at most 4,000,000 bytes.',
    }),
    annotations: t.field({ type: 'JSON', description: 'What a program notes about it.' }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When it was said, for what was said offline. It does not decide the order. Else now.',
    }),
  }),
});

addMutation<{ project: ProjectReference; messages: readonly NewMessage[] }, Appended>({
  name: 'appendMessages',
  description:
    "Appends up to 1,000 messages to a project's chat, in the order given, all or none. Safe to send again: what is stored under a messageId is left as it is; if it says something else, a user error CONFLICT names it. For the project's owner and editors. Scope chat.",
  input: builder
    .inputRef<{ project: ProjectReference; messages: readonly NewMessage[] }>('AppendMessagesInput')
    .implement({
      description: 'What was said, and where.',
      fields: (t) => ({
        project: t.field({ type: ProjectRefInput, required: true, description: 'Whose chat.' }),
        messages: t.field({ type: [MessageInput], required: true, description: '1 to 1,000, in their order.' }),
      }),
    }),
  fields: (t) => ({
    insertedCount: t.int({
      nullable: true,
      description: 'How many are new; the others were there already.',
      resolve: (outcome) => outcome.insertedCount,
    }),
    messages: t.field({
      type: [Message],
      nullable: { list: true, items: false },
      description: 'The messages as they are stored, one for each given, in their order.',
      resolve: (outcome) => outcome.receipts,
    }),
  }),
  resolve: async ({ project, messages }, context) => {
    const appended = await appendMessages(context, project, messages);
    return { ...appended, userErrors: appended.conflicts.map(toUserError) };
  },
});

addMutation<{ project: ProjectReference; expectedCount: number }, { clearedCount: number }>({
  name: 'clearMessages',
  description:
    "Deletes all messages of a project's chat, if there are as many as the caller believes: else CONFLICT, with the count in `details`. Numbers go on where they were. For the project's owner and editors. Scope chat.",
  input: builder.inputRef<{ project: ProjectReference; expectedCount: number }>('ClearMessagesInput').implement({
    description: 'Which chat, and what is believed of it.',
    fields: (t) => ({
      project: t.field({ type: ProjectRefInput, required: true, description: 'Whose chat.' }),
      expectedCount: t.int({ required: true, description: 'How many messages it holds, as far as the caller knows.' }),
    }),
  }),
  fields: (t) => ({
    clearedCount: t.int({
      nullable: true,
      description: 'How many were deleted.',
      resolve: (outcome) => outcome.clearedCount,
    }),
  }),
  resolve: ({ project, expectedCount }, context) => clearMessages(context, project, expectedCount),
});
