import { answerHeavy, answerPart } from '../../graphql/budget.ts';
import { builder } from '../../graphql/builder.ts';
import { readPage, toConnection } from '../../graphql/connection.ts';
import { deletedAt, deletionOf, type ListedRecord, listSizes, type Moment, writeOf } from './model.ts';
import { listTable } from './service.ts';
import { recordOrder } from './store.ts';

const SyncMoment = builder.objectRef<Moment>('SyncMoment').implement({
  description: 'When something was done to a record: of two at the same time the one with the greater position counts.',
  fields: (t) => ({
    at: t.field({ type: 'DateTime', description: 'The time.', resolve: (moment) => moment.at }),
    position: t.field({ type: 'BigInt', description: "The change's position.", resolve: (moment) => moment.position }),
  }),
});

const SyncRecord = builder.objectRef<ListedRecord>('SyncRecord').implement({
  description:
    'A record as all changes together make it: of each field the newest write. Deleted ones are listed too, so that a late, older write does not bring them back.',
  extensions: { personal: true },
  fields: (t) => ({
    table: t.exposeString('table_name', { description: "The app's own table." }),
    recordId: t.exposeString('record_id', { description: "The record's key in that table." }),
    data: t.field({
      type: 'JSON',
      description: "Its fields, under their names of the app's newest schema version; without those that were deleted.",
      resolve: (record, _args, context) => {
        answerHeavy(context, record);
        return record.data;
      },
    }),
    fieldMeta: t.field({
      type: 'JSON',
      description: 'When each field was written: {"field": "2026-11-21T09:30:00.000000Z"}, in UTC with microseconds.',
      resolve: (record, _args, context) => {
        answerPart(context, record, 'fieldMeta');
        return record.field_meta;
      },
    }),
    fieldPositions: t.field({
      type: 'JSON',
      description: 'The position of the change that wrote each field: of two with the same time the greater one won.',
      resolve: (record, _args, context) => {
        answerPart(context, record, 'fieldPositions');
        return record.field_positions;
      },
    }),
    spaceId: t.exposeString('space_id', {
      nullable: true,
      description: "The space whose members share it; null: the caller's alone.",
    }),
    schemaVersion: t.exposeInt('schema_version', {
      description: 'Of which schema version of the app `data` is: the newest that is registered.',
    }),
    deletedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When it was deleted; null while it is there.',
      resolve: deletedAt,
    }),
    write: t.field({
      type: SyncMoment,
      nullable: true,
      description: 'The newest write of any field; null when it was only ever deleted.',
      resolve: writeOf,
    }),
    deletion: t.field({
      type: SyncMoment,
      nullable: true,
      description: 'The newest delete, also of a record that a newer write brought back; null when there was none.',
      resolve: deletionOf,
    }),
    cursor: t.field({
      type: 'Cursor',
      description:
        'From before the first page of this list: give it as `since` to syncChanges or as `after` to syncChanged, and nothing is missed.',
      resolve: (record) => record.since,
    }),
  }),
});

const SyncRecordConnection = builder.connectionObject(
  { type: SyncRecord, name: 'SyncRecordConnection', description: 'One page of records.' },
  { name: 'SyncRecordEdge', description: 'A record with its cursor.' },
);

builder.queryField('syncRecords', (t) =>
  t.connection(
    {
      type: SyncRecord,
      description:
        "A table's records: for a device that begins, instead of all changes that made them. The caller's own first, then those of its spaces. A page of large records may hold fewer than asked for, and says that there are more. CURSOR_EXPIRED when the caller came into a space or left one between two pages: begin again. Scope sync.",
      extensions: { page: listSizes },
      args: {
        appId: t.arg.string({ required: true, description: 'The app.' }),
        table: t.arg.string({ required: true, description: 'The table.' }),
      },
      resolve: async (_root, { appId, table, ...args }, context) => {
        const page = readPage({ ...args, last: null, before: null }, recordOrder, listSizes);
        const { records, complete } = await listTable(context, { appId, table }, page);
        const connection = toConnection(records, page, recordOrder);
        return { ...connection, pageInfo: { ...connection.pageInfo, hasNextPage: !complete } };
      },
    },
    SyncRecordConnection,
  ),
);
