import type { RequestContext } from '../../auth/context.ts';
import type { Place } from '../../feed/cursor.ts';
import { answerHeavy, answerPart } from '../../graphql/budget.ts';
import { builder } from '../../graphql/builder.ts';
import { readSize } from '../../graphql/connection.ts';
import { addMutation } from '../../graphql/payload.ts';
import { encodeId } from '../../kernel/ids.ts';
import {
  type ChangePage,
  type NewChange,
  type PlacedChange,
  type PlacedReceipt,
  type Push,
  pullSizes,
} from './model.ts';
import { pullChanges, pushChanges, toFilter } from './service.ts';

export const SyncOp = builder.enumType('SyncOp', {
  description: 'What a change does to its record.',
  values: {
    INSERT: { value: 'insert', description: 'Makes it, with all of its fields.' },
    UPDATE: { value: 'update', description: 'Writes some of its fields.' },
    DELETE: { value: 'delete', description: 'Takes it away. A newer write of any field brings it back.' },
  } as const,
});

const SyncChange = builder.objectRef<PlacedChange>('SyncChange').implement({
  description: "What a client changed, as it is in the log. For its author and, in a space, for the space's members.",
  extensions: { personal: true },
  fields: (t) => ({
    id: t.id({ description: 'Opaque and stable.', resolve: (change) => encodeId('SyncChange', change.id) }),
    position: t.field({
      type: 'BigInt',
      description: 'Of two writes of a field with the same time the one with the greater position wins.',
      resolve: (change) => change.position,
    }),
    appId: t.exposeString('app_id', { description: 'The app whose data it is.' }),
    table: t.exposeString('table_name', { description: "The app's own table." }),
    recordId: t.exposeString('record_id', { description: "The record's key in that table." }),
    op: t.field({ type: SyncOp, description: 'What it does to the record.', resolve: (change) => change.op }),
    data: t.field({
      type: 'JSON',
      nullable: true,
      description:
        "The fields that it writes, under their names of the app's newest schema version; null for most deletes.",
      resolve: (change, _args, context) => {
        answerHeavy(context, change);
        return change.data;
      },
    }),
    fieldMeta: t.field({
      type: 'JSON',
      description:
        'When each field was written: {"field": "2026-11-21T09:30:00.000000Z"}, always in UTC with microseconds. The newest time is that of the write, or of the delete, as a whole; where there is none, `createdAt` is.',
      resolve: (change, _args, context) => {
        answerPart(context, change, 'fieldMeta');
        return change.field_meta;
      },
    }),
    clientId: t.exposeString('client_id', { description: 'The client that pushed it.' }),
    changeId: t.exposeString('change_id', { description: "The client's own id of it." }),
    userId: t.exposeString('user_id', { description: 'Whose change it is: the UUID of a principal.' }),
    spaceId: t.exposeString('space_id', {
      nullable: true,
      description: "The space whose members share it; null: its author's alone.",
    }),
    schemaVersion: t.exposeInt('schema_version', {
      description: 'Of which schema version of the app `data` is: the newest that is registered.',
    }),
    actor: t.field({
      type: 'JSON',
      nullable: true,
      description: 'Who did it, as the client says; the user where it says nothing.',
      resolve: (change, _args, context) => {
        answerPart(context, change, 'actor');
        return change.actor ?? { type: 'user', id: change.user_id };
      },
    }),
    origin: t.string({
      nullable: true,
      description: '`user`, `agent`, `system` or `migration`; `user` where the client says nothing.',
      resolve: (change) => change.origin ?? 'user',
    }),
    createdAt: t.field({
      type: 'DateTime',
      description: 'When it was stored.',
      resolve: (change) => change.created_at,
    }),
    cursor: t.field({
      type: 'Cursor',
      description: 'Goes on after this change: give it as `since` to syncChanges or as `after` to syncChanged.',
      resolve: (change, _args, context) => context.feed.cursorOf(change.place),
    }),
  }),
});

/** A page of the log; `cursor` where it is told live. */
export interface SyncPageShape extends ChangePage {
  cursor?: string;
}

export const SyncPage = builder.objectRef<SyncPageShape>('SyncPage').implement({
  description: 'Some changes of the log, in order.',
  extensions: { personal: true },
  fields: (t) => ({
    changes: t.field({ type: [SyncChange], description: 'The changes.', resolve: (page) => page.changes }),
    cursor: t.field({
      type: 'Cursor',
      description: 'Goes on after this page: give it as `since` to syncChanges or as `after` to syncChanged.',
      resolve: (page, _args, context) => page.cursor ?? context.feed.cursorOf(page.place),
    }),
    hasMore: t.boolean({
      description: 'Whether there is more by now: pull on until there is not.',
      resolve: (page) => page.hasMore,
    }),
  }),
});

builder.queryField('syncChanges', (t) =>
  t.field({
    type: SyncPage,
    description:
      "What offline clients changed, after a cursor, each change exactly once: the caller's own and that of its spaces. A page of large changes may hold fewer than asked for, and says that there are more. CURSOR_EXPIRED when the caller came into a space or left one since: read syncRecords anew. Scope sync.",
    args: {
      appId: t.arg.string({ required: true, description: 'The app.' }),
      tables: t.arg.stringList({ description: 'Only these tables, 100 at most; all when left out.' }),
      since: t.arg({
        type: 'Cursor',
        description:
          'A cursor of syncChanges, syncChanged, syncRecords or pushChanges; from the beginning when left out.',
      }),
      excludeClientId: t.arg.string({ description: 'Leaves out what this client pushed itself.' }),
      first: t.arg.int({
        defaultValue: pullSizes.usual,
        description: `How many changes: 1 to ${pullSizes.most.toLocaleString('en')}, ${pullSizes.usual} by default.`,
      }),
    },
    extensions: { page: pullSizes },
    resolve: (_root, { since, first, ...filter }, context) =>
      pullChanges(context, toFilter(filter), {
        after: since == null ? null : context.feed.placeOf(since, 'sync'),
        limit: readSize('first', first, pullSizes) ?? pullSizes.usual,
      }),
  }),
);

const SyncChangeInput = builder.inputRef<NewChange>('SyncChangeInput').implement({
  description: 'A change to push.',
  fields: (t) => ({
    changeId: t.string({
      required: true,
      description: "The client's own id, 1 to 200 bytes: pushed again under it, the change is not stored twice.",
    }),
    table: t.string({ required: true, description: "The app's own table, 1 to 200 bytes." }),
    recordId: t.string({ required: true, description: "The record's key in that table, 1 to 500 bytes." }),
    op: t.field({ type: SyncOp, required: true, description: 'What it does to the record.' }),
    data: t.field({
      type: 'JSON',
      description: 'The fields that it writes, as an object; of an insert all of them. Not needed to delete.',
    }),
    fieldMeta: t.field({
      type: 'JSON',
      description:
        'When each field was written, by the client\'s clock: {"field": "2026-11-21T09:30:00Z"}. What is left out was written now. To delete, one time under any name is the delete\'s. At most a day ahead of the server\'s clock.',
    }),
    spaceId: t.string({
      description:
        "The space whose members share it: the caller must be an owner or editor there. Else it is the caller's alone.",
    }),
    actor: t.field({ type: 'JSON', description: 'Who did it, whatever that means to the app.' }),
    origin: t.string({ description: '`user`, `agent`, `system` or `migration`.' }),
    schemaVersion: t.int({
      description: "Of which schema version it is, where it is not the batch's. 0 or less is 1.",
    }),
  }),
});

const AcceptedChange = builder.objectRef<PlacedReceipt>('AcceptedChange').implement({
  description: 'A change that is stored.',
  extensions: { personal: true },
  fields: (t) => ({
    changeId: t.exposeString('change_id', { description: "The client's own id of it." }),
    position: t.field({
      type: 'BigInt',
      description: 'Its position, as `SyncChange.position` tells it to others.',
      resolve: (receipt) => receipt.position,
    }),
    cursor: t.field({
      type: 'Cursor',
      description: 'Goes on after this change. What others wrote before the push is not told from here on.',
      resolve: (receipt, _args, context) => context.feed.cursorOf(receipt.place),
    }),
    duplicate: t.exposeBoolean('duplicate', { description: 'It was stored before, under the same id.' }),
  }),
});

addMutation<Push, { accepted: PlacedReceipt[]; cursor?: () => string }>({
  name: 'pushChanges',
  description:
    'Stores up to 500 changes (10 MB) of a client in the order given, all or none. Safe to send again: what is stored under a changeId already counts as accepted; if it says something else, CONFLICT names it. Scope sync.',
  input: builder.inputRef<Push>('PushChangesInput').implement({
    description: 'What a client changed.',
    fields: (t) => ({
      appId: t.string({ required: true, description: 'The app whose data it is, 1 to 200 bytes.' }),
      clientId: t.string({
        required: true,
        description: "The client's own name for itself, 1 to 200 bytes: another one for each device and installation.",
      }),
      schemaVersion: t.int({ description: 'Of which schema version of the app the changes are: 1 when left out.' }),
      changes: t.field({ type: [SyncChangeInput], required: true, description: '1 to 500, in their order.' }),
    }),
  }),
  fields: (t) => ({
    accepted: t.field({
      type: [AcceptedChange],
      nullable: { list: true, items: false },
      description: 'One for each change given, in their order.',
      resolve: (outcome) => outcome.accepted,
    }),
  }),
  resolve: async (push, context) => {
    const { accepted, from } = await pushChanges(context, push);
    return { accepted, ...cursorFrom(context, from) };
  },
});

/** Of the log of sync: with it, syncChanges and syncChanged begin with what was pushed. */
function cursorFrom({ feed }: RequestContext, place: Place | null): { cursor?: () => string } {
  return place === null ? {} : { cursor: () => feed.cursorOf(place) };
}
