import { builder } from '../../graphql/builder.ts';
import { addMutation } from '../../graphql/payload.ts';
import { type Lift, type NewVersion, registerVersion } from './service.ts';

const SyncLiftInput = builder.inputRef<Lift>('SyncLiftInput').implement({
  description: 'How rows of one table become rows of the next schema version.',
  fields: (t) => ({
    table: t.string({ required: true, description: 'The table.' }),
    rename: t.field({ type: 'JSON', description: 'Fields with other names: {"from": "to"}. Chains are refused.' }),
    drop: t.stringList({ description: 'Fields that there are no longer.' }),
  }),
});

addMutation<NewVersion, { version: number }>({
  name: 'registerSyncVersion',
  description:
    'Makes the next schema version of an app known: 2, then 3, and so on. Clients may push changes of it from then on; rows of older versions stay as they are stored and are lifted when they are read or merged. The same again changes nothing. Scope admin.',
  input: builder.inputRef<NewVersion>('RegisterSyncVersionInput').implement({
    description: 'A schema version of an app.',
    fields: (t) => ({
      appId: t.string({ required: true, description: 'The app.' }),
      version: t.int({ required: true, description: 'The next version: one more than the newest that is registered.' }),
      lifts: t.field({
        type: [SyncLiftInput],
        required: true,
        defaultValue: [],
        description: 'How rows of the version before become rows of this one; none where they are the same.',
      }),
    }),
  }),
  fields: (t) => ({
    version: t.int({ nullable: true, description: 'The version.', resolve: (outcome) => outcome.version }),
  }),
  resolve: async (input, context) => ({ version: await registerVersion(context, input) }),
});
