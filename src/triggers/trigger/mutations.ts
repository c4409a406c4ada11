import { ChangeOp } from '../../feed/graphql.ts';
import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { ProjectRefInput } from '../../registry/project/graphql.ts';
import { Backoff, DispatchMode } from '../script/graphql.ts';
import { CatchUp, SourceKind, Trigger, triggerLoader } from './graphql.ts';
import type { TriggerRow } from './model.ts';
import {
  type CronSpec,
  createTrigger,
  type DeadLetterSpec,
  deleteTrigger,
  type NewTrigger,
  type TriggerChange,
  type TriggerSpec,
  updateTrigger,
} from './service.ts';

const KvTriggerInput = builder.inputRef<NonNullable<TriggerSpec['kv']>>('KvTriggerInput').implement({
  description: "Which changes of the registry's collections set a trigger off.",
  fields: (t) => ({
    collectionGlob: t.string({
      required: true,
      description:
        '`*` for all, the name of a collection (`projects`, `worktrees`, `claims`, `activities`, `messages`, `snapshots`, `mirror`, `sync:<app>:<table>`), or `prefix:*` such as `sync:*` and `sync:<app>:*`. Only what the registrant may read.',
    }),
    ops: t.field({ type: [ChangeOp], required: true, defaultValue: [], description: 'Which changes; empty: any.' }),
  }),
});

const DeadLetterTriggerInput = builder.inputRef<DeadLetterSpec>('DeadLetterTriggerInput').implement({
  description: 'Which dead letters set a trigger off; all that is given must hold.',
  fields: (t) => ({
    source: t.field({ type: SourceKind, description: 'Only of this source.' }),
    trigger: t.id({ description: 'Only of this trigger or route.' }),
    script: t.id({ description: 'Only of this script.' }),
  }),
});

const CronTriggerInput = builder.inputRef<CronSpec>('CronTriggerInput').implement({
  description: 'At which times a trigger is set off.',
  fields: (t) => ({
    expression: t.string({
      required: true,
      description: 'A cron expression of five parts, or of six with seconds first, such as `0 3 * * *`.',
    }),
    timezone: t.string({ defaultValue: 'UTC', description: 'In whose time it is read, such as `Europe/Berlin`.' }),
    catchUp: t.field({
      type: CatchUp,
      required: true,
      defaultValue: 'skip',
      description: 'What becomes of times at which no dispatcher ran.',
    }),
  }),
});

const TriggerSpecInput = builder.inputRef<TriggerSpec>('TriggerSpecInput').implement({
  description: 'What sets a trigger off: exactly one of these.',
  isOneOf: true,
  fields: (t) => ({
    kv: t.field({ type: KvTriggerInput, description: 'Changes in the registry.' }),
    deadLetter: t.field({ type: DeadLetterTriggerInput, description: 'Deliveries that failed for good.' }),
    cron: t.field({ type: CronTriggerInput, description: 'The clock.' }),
  }),
});

type TriggerAnswer = { trigger: TriggerRow | null };

/** The field that these payloads share. */
function answered(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, { trigger?: TriggerRow | null }>) {
  return {
    trigger: t.field({
      type: Trigger,
      nullable: true,
      description: 'The trigger; of one that was deleted, as it was.',
      resolve: (outcome) => outcome.trigger,
    }),
  };
}

addMutation<NewTrigger, TriggerAnswer>({
  name: 'createTrigger',
  description:
    'Registers a trigger. Its script runs as the caller, who must have saved it, with no more scopes than this token has. It is told of what happens from now on. In a project it needs an owner of it, for the whole registry the scope admin. Scope triggers:admin.',
  input: builder.inputRef<NewTrigger>('CreateTriggerInput').implement({
    description: 'When which script is to run.',
    fields: (t) => ({
      project: t.field({
        type: ProjectRefInput,
        description: 'Whose changes it means, and whose owners see it; left out: those of the whole registry.',
      }),
      script: t.id({
        required: true,
        description: 'What it runs: a script of the same project; without a project, one without.',
      }),
      spec: t.field({ type: TriggerSpecInput, required: true, description: 'What sets it off.' }),
      condition: t.string({
        description:
          'JSONata over the event: only if it is true the script runs; at most 10,000 bytes. Left out: always.',
      }),
      enabled: t.boolean({ defaultValue: true, description: 'Whether it begins at once.' }),
      dispatchMode: t.field({
        type: DispatchMode,
        defaultValue: 'async',
        description: 'ASYNC: only routes know SYNC.',
      }),
      retryMaxAttempts: t.int({
        description: "After how many failures it becomes a dead letter: 1 to 100. Left out: the gateway's setting.",
      }),
      retryBackoff: t.field({
        type: Backoff,
        description: "How long to wait between attempts. Left out: the gateway's setting.",
      }),
      retryBaseMs: t.int({
        description: "How long to wait after the first failure: 1 to 3,600,000 ms. Left out: the gateway's setting.",
      }),
    }),
  }),
  fields: answered,
  resolve: async (input, context) => ({
    trigger: await triggerLoader(context).load(await createTrigger(context, input)),
  }),
});

addMutation<TriggerChange, TriggerAnswer>({
  name: 'updateTrigger',
  description:
    'Changes what is given. Only its registrant may; others who see it may set `enabled` to false, and nothing else. What happened while it was disabled, or meant something else, does not set it off later. Scope triggers:admin.',
  input: builder.inputRef<TriggerChange>('UpdateTriggerInput').implement({
    description: 'What to change of a trigger; what is left out stays.',
    fields: (t) => ({
      id: t.id({ required: true, description: 'Which one.' }),
      enabled: t.boolean({ description: 'Whether anything sets it off.' }),
      spec: t.field({ type: TriggerSpecInput, description: 'What sets it off, all of it; its kind stays.' }),
      condition: t.string({ description: 'JSONata over the event; null: always.' }),
      retryMaxAttempts: t.int({ description: 'After how many failures it becomes a dead letter: 1 to 100.' }),
      retryBackoff: t.field({ type: Backoff, description: 'How long to wait between attempts.' }),
      retryBaseMs: t.int({ description: 'How long to wait after the first failure: 1 to 3,600,000 ms.' }),
    }),
  }),
  fields: answered,
  resolve: async (input, context) => ({
    trigger: await triggerLoader(context).load(await updateTrigger(context, input)),
  }),
});

addMutation<{ id: string }, TriggerAnswer>({
  name: 'deleteTrigger',
  description: 'Deletes a trigger, and what it set off that waits to be run. Scope triggers:admin.',
  input: builder.inputRef<{ id: string }>('DeleteTriggerInput').implement({
    description: 'Which trigger to delete.',
    fields: (t) => ({ id: t.id({ required: true, description: 'Which one.' }) }),
  }),
  fields: answered,
  resolve: async ({ id }, context) => ({ trigger: await deleteTrigger(context, id) }),
});
