import { asPrincipal } from './as-principal.ts';

/**
 * The statements of sync without a gateway, and what a plain table is asked that does the same work: no policies, no checks,
 * no merging by time. Each takes the principal as $1 and the app as $2, and answers one row, with the text `body`.
 */

/** The same columns and the same indexes, so that a plain insert costs what it must. */
export const bareTables = `
  create schema bench;
  create table bench.changes (like sync.sync_changes including defaults including indexes);
  alter table bench.changes drop column bytes;
  create table bench.records (like sync.records including indexes) with (fillfactor = 80);
  alter table bench.records drop column bytes;
  grant usage on schema bench to treeline_runtime;
  grant select, insert, update on all tables in schema bench to treeline_runtime`;

/** Copies what is there, in its order. The policies would hide what is others', also from the owner. */
export const fillBareTables = `
  alter table sync.sync_changes no force row level security;
  alter table sync.records no force row level security;
  insert into bench.changes (id, position, xid, user_id, space_id, app_id, table_name, record_id, op, data, field_meta, client_id,
    change_id, schema_version, actor, origin, created_at)
  select id, position, xid, user_id, space_id, app_id, table_name, record_id, op, data, field_meta, client_id,
    change_id, schema_version, actor, origin, created_at
  from sync.sync_changes order by position;
  insert into bench.records (space_id, user_id, app_id, table_name, record_id, schema_version, data, field_meta, field_positions,
    written_at, written_position, deleted_at, deleted_position, position)
  select space_id, user_id, app_id, table_name, record_id, schema_version, data, field_meta, field_positions,
    written_at, written_position, deleted_at, deleted_position, position
  from sync.records order by position;
  alter table sync.sync_changes force row level security;
  alter table sync.records force row level security`;

/** Takes the client as $3 and the changes as $4, as JSON. */
export const pushChanges = {
  name: 'push-changes',
  text: asPrincipal(`(
    select json_build_object('stored', stored, 'receipts', receipts)::text as body
    from sync.push_changes($2, $3, 1, $4::jsonb)
  ) as pushed`),
};

/** The same; the records take each field as it comes. */
export const insertChanges = {
  name: 'insert-changes',
  text: `
    with stored as (
      insert into bench.changes (user_id, app_id, client_id, change_id, table_name, record_id, op, data, field_meta)
      select $1::uuid, $2, $3, g.change_id, g.table_name, g.record_id, g.op, g.data, g.field_meta
      from jsonb_to_recordset($4::jsonb) as g (change_id text, table_name text, record_id text, op text, data jsonb, field_meta jsonb)
      returning position, user_id, app_id, change_id, table_name, record_id, data, field_meta, schema_version
    ), kept as (
      insert into bench.records as r (
        user_id, app_id, table_name, record_id, schema_version, data, field_meta, field_positions, position
      )
      select s.user_id, s.app_id, s.table_name, s.record_id, s.schema_version, s.data, s.field_meta, '{}', s.position from stored s
      on conflict (space_id, user_id, app_id, table_name, record_id) do update set
        data = r.data || excluded.data, field_meta = r.field_meta || excluded.field_meta, position = excluded.position
    )
    select json_build_object('stored', count(*), 'receipts',
      json_agg(json_build_object('change_id', s.change_id, 'position', s.position)))::text as body
    from stored s`,
};

/** Takes the two snapshots as $3 and $4 and the position as $5. */
export const readChanges = {
  name: 'read-changes',
  text: asPrincipal(`(
    select json_build_object('next', next::text, 'complete', complete, 'changes', changes)::text as body
    from sync.read_changes($2, null, null, $3::pg_snapshot, $4::pg_snapshot, $5::bigint, 500)
  ) as page`),
};

/** Takes the position as $3. */
export const selectChanges = {
  name: 'select-changes',
  text: `
    select json_build_object('complete', count(*) < 500, 'changes', coalesce(json_agg(page), '[]'))::text as body
    from (
      select c.id, c.position, c.user_id, c.space_id, c.app_id, c.table_name, c.record_id, c.op, c.client_id, c.change_id, c.actor,
        c.origin, c.created_at, c.data, c.field_meta, c.schema_version
      from bench.changes c where c.user_id = $1::uuid and c.app_id = $2 and c.position > $3::bigint order by c.position limit 500
    ) page`,
};

/** A page of lines with where it ended. Takes the snapshot as $3 and the position as $4. */
export const exportChanges = {
  name: 'export-changes',
  text: asPrincipal(`(
    select lines as body, next::text as next, last_position::text as position, complete
    from sync.export_changes(array[$2], $3::pg_snapshot, $2, $4::bigint, 1000, 500000)
  ) as page`).replace('result.body', 'result.*'),
};

/** The same, of the plain table. */
export const selectLines = {
  name: 'select-lines',
  text: `
    select string_agg(page.line || E'\\n', '' order by page.position) as body, $3::text as next, max(page.position)::text as position,
      count(*) < 1000 as complete
    from (
      select c.position, json_build_object(
        'app_id', c.app_id, 'client_id', c.client_id, 'change_id', c.change_id, 'table_name', c.table_name, 'record_id', c.record_id,
        'op', c.op, 'data', c.data, 'field_meta', c.field_meta, 'space_id', c.space_id, 'schema_version', c.schema_version,
        'actor', c.actor, 'origin', c.origin, 'created_at', c.created_at
      )::text as line
      from bench.changes c where c.user_id = $1::uuid and c.app_id = $2 and c.position > $4::bigint order by c.position limit 1000
    ) page`,
};
