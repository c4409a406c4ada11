import { type RequestContext, requireScope } from '../../auth/context.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { byKey, loader } from '../../graphql/loaders.ts';
import { RequestError } from '../../kernel/errors.ts';
import { ProjectRefInput } from '../../registry/project/graphql.ts';
import { loadHeavyColumn } from '../call.ts';
import { originFields } from '../origin.ts';
import { Script, scriptLoader } from '../script/graphql.ts';
import { SourceKind } from '../trigger/graphql.ts';
import type { DeadLetterFilter, DeadLetterRow } from './model.ts';
import { deadLetterOrder, listDeadLetters, listDeadLettersById } from './store.ts';

export function deadLetterLoader(context: RequestContext) {
  return loader<DeadLetterRow | null>(
    context,
    'deadLetter',
    async (ids) => byKey(await listDeadLettersById(context, ids), (letter) => letter.id),
    null,
  );
}

const Resolution = builder.enumType('Resolution', {
  description: 'What became of a dead letter.',
  values: {
    REPLAYED: { value: 'replayed', description: 'Somebody had it run again; what fails again is a letter of its own.' },
    IGNORED: { value: 'ignored', description: 'Somebody set it aside.' },
    HANDLED_BY_SCRIPT: { value: 'handled_by_script', description: 'A trigger for dead letters saw to it.' },
    HANDLER_FAILED: {
      value: 'handler_failed',
      description: 'A trigger for dead letters was to see to it, and failed: it is unresolved still.',
    },
  } as const,
});

export const DeadLetter = builder.objectRef<DeadLetterRow>('DeadLetter');

builder.node(DeadLetter, {
  description:
    'What was to be delivered and could not be. Unresolved ones stay until somebody sees to them. For the principal whose script it is and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  id: { resolve: (letter) => letter.id },
  loadWithoutCache: (id, context) => {
    requireScope(context.viewer, 'triggers:admin');
    return deadLetterLoader(context).load(id);
  },
  isTypeOf: (value) => typeof value === 'object' && value !== null && 'last_error' in value,
  fields: (t) => ({
    uuid: t.field({ type: 'UUID', description: 'The key of the row, as SQL users know it.', resolve: (d) => d.id }),
    messageId: t.field({
      type: 'UUID',
      description: 'What a receiver knows it by (`webhook-id`): the same when it is replayed.',
      resolve: (letter) => letter.message_id,
    }),
    ...originFields(t),
    script: t.field({
      type: Script,
      nullable: true,
      description: 'What was to be run; it may have been deleted since.',
      resolve: ({ script_id: id }, _args, context) => (id === null ? null : scriptLoader(context).load(id)),
    }),
    payload: t.field({
      type: 'JSON',
      description: 'The event, as templates and webhooks see it.',
      resolve: async ({ id }, _args, context) => {
        const payload = await loadHeavyColumn(context, 'dead_letters.payload', id);
        if (payload !== null) return payload;
        throw new RequestError('RESYNC_REQUIRED', 'The dead letter was deleted meanwhile: read the list again.');
      },
    }),
    attempts: t.exposeInt('attempts', { description: 'How often it was begun; 0 for what was not even tried.' }),
    firstError: t.exposeString('first_error', { description: 'Why it failed the first time.' }),
    lastError: t.exposeString('last_error', { description: 'Why it failed for good.' }),
    depth: t.exposeInt('depth', {
      description: 'How many scripts stand between it and somebody: 0 for what people and agents did.',
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was given up.', resolve: (d) => d.created_at }),
    resolvedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was seen to; null: not yet.',
      resolve: (letter) => letter.resolved_at,
    }),
    resolution: t.field({
      type: Resolution,
      nullable: true,
      description: 'What became of it; null: nothing yet.',
      resolve: (letter) => letter.resolution,
    }),
  }),
});

const DeadLetterConnection = builder.connectionObject(
  { type: DeadLetter, name: 'DeadLetterConnection', description: 'One page of dead letters.' },
  { name: 'DeadLetterEdge', description: 'A dead letter with its cursor.' },
);

export const DeadLetterFilterInput = builder.inputRef<DeadLetterFilter>('DeadLetterFilter').implement({
  description: 'Which dead letters; all that is given must hold.',
  fields: (t) => ({
    unresolved: t.boolean({
      defaultValue: true,
      description: 'Those that nobody has seen to, or the others; null for both.',
    }),
    source: t.field({ type: [SourceKind], description: 'Of one of these sources.' }),
    trigger: t.id({ description: 'Of this trigger or route.' }),
    script: t.id({ description: 'Of this script.' }),
    project: t.field({ type: ProjectRefInput, description: 'Of this project.' }),
    since: t.field({ type: 'DateTime', description: 'Given up then or later.' }),
  }),
});

builder.queryField('deadLetters', (t) =>
  t.connection(
    {
      type: DeadLetter,
      description: 'Dead letters that the caller may see, the newest first. Scope triggers:admin.',
      args: {
        filter: t.arg({ type: DeadLetterFilterInput, description: 'Which ones; the unresolved ones when left out.' }),
      },
      resolve: async (_root, { filter, ...args }, context) => {
        const page = readPage(args, deadLetterOrder);
        const rows = await listDeadLetters(context, filter ?? { unresolved: true }, page);
        return toConnection(rows, page, deadLetterOrder);
      },
    },
    DeadLetterConnection,
  ),
);
