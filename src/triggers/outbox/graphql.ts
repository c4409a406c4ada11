import { answerHeavy, loadHeavy } from '../../graphql/budget.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { selectedOnNodes } from '../../graphql/selection.ts';
import { encodeId } from '../../kernel/ids.ts';
import { originFields } from '../origin.ts';
import { getScript, Script } from '../script/graphql.ts';
import type { OutboxRow, OutboxStatsRow } from './model.ts';
import { getOutboxStats, listOutbox, listOutboxWithPayloads, outboxOrder } from './store.ts';

const OutboxEntry = builder.objectRef<OutboxRow>('OutboxEntry').implement({
  description:
    'Something that waits to be run, or is run just now: it leaves the outbox when it succeeds or becomes a dead letter. For the principal as whom it runs and the owners of its project; without a project, administrators.',
  extensions: { personal: true },
  fields: (t) => ({
    id: t.id({ description: 'Opaque and stable.', resolve: ({ id }) => encodeId('OutboxEntry', id) }),
    messageId: t.field({
      type: 'UUID',
      description: 'What a receiver knows it by (`webhook-id`): the same through retries and replays.',
      resolve: (entry) => entry.message_id,
    }),
    ...originFields(t),
    script: t.field({
      type: Script,
      description: 'What is to be run.',
      resolve: (entry, _args, context) => getScript(context, entry.script_id),
    }),
    payload: t.field({
      type: 'JSON',
      description: 'The event, as templates and webhooks see it.',
      resolve: ({ payload, bytes = 0, fits = false }, _args, context) => {
        answerHeavy(context, { bytes, fits });
        return payload;
      },
    }),
    attempt: t.exposeInt('attempt', { description: 'How often it was begun.' }),
    failures: t.exposeInt('failures', {
      description: 'How many of those failed; the others were lost with their worker.',
    }),
    retryMaxAttempts: t.exposeInt('retry_max_attempts', {
      description: 'After how many failures it becomes a dead letter.',
    }),
    firstError: t.exposeString('first_error', { nullable: true, description: 'Why it failed the first time.' }),
    dueAt: t.field({ type: 'DateTime', description: 'When it may be begun.', resolve: (entry) => entry.due_at }),
    claimedBy: t.exposeString('claimed_by', {
      nullable: true,
      description: 'Which dispatcher runs it; null while it waits.',
    }),
    claimExpiresAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When others take it over, unless its dispatcher says before that it still runs it.',
      resolve: (entry) => entry.claim_expires_at,
    }),
    depth: t.exposeInt('depth', {
      description: 'How many scripts stand between it and somebody: 0 for what people and agents did.',
    }),
    createdAt: t.field({ type: 'DateTime', description: 'When it was set off.', resolve: (entry) => entry.created_at }),
  }),
});

const OutboxConnection = builder.connectionObject(
  { type: OutboxEntry, name: 'OutboxConnection', description: 'One page of the outbox.' },
  { name: 'OutboxEdge', description: 'An entry of the outbox with its cursor.' },
);

const OutboxStats = builder.objectRef<OutboxStatsRow>('OutboxStats').implement({
  description: 'How much the outbox holds, of what the caller may see.',
  extensions: { personal: true },
  fields: (t) => ({
    due: t.exposeInt('due', { description: 'What may be begun now, and is not.' }),
    claimed: t.exposeInt('claimed', { description: 'What is run just now.' }),
    waiting: t.exposeInt('waiting', { description: 'What was put off until later.' }),
    oldestDueAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Since when the oldest of what is due waits; null when nothing is.',
      resolve: (stats) => stats.oldest_due_at,
    }),
    unresolvedDeadLetters: t.exposeInt('unresolved_dead_letters', {
      description: 'Dead letters that nobody has seen to.',
    }),
  }),
});

builder.queryFields((t) => ({
  outbox: t.connection(
    {
      type: OutboxEntry,
      description: 'What waits to be run, or is run just now, the newest first. Scope triggers:admin.',
      resolve: async (_root, args, context, info) => {
        const page = readPage(args, outboxOrder);
        const rows = selectedOnNodes(info).has('payload')
          ? await loadHeavy(context, (roomBytes) => listOutboxWithPayloads(context, page, roomBytes))
          : await listOutbox(context, page);
        return toConnection<OutboxRow>(rows, page, outboxOrder);
      },
    },
    OutboxConnection,
  ),
  outboxStats: t.field({
    type: OutboxStats,
    description: 'How much the outbox holds, and since when. Scope triggers:admin.',
    resolve: (_root, _args, context) => getOutboxStats(context),
  }),
}));
