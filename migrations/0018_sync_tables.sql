-- Why: what clients changed while they were offline: an append-only log of their changes, and each record as all changes
-- together make it. Private to their authors and to the members of the space that they are in, by policies that bind the
-- owner of the schema too.
-- Locks: nothing but the new objects.

create schema sync;
comment on schema sync is 'What offline clients changed: the log of changes, and the records that they make. Private to authors and spaces.';
grant usage on schema sync to treeline_runtime;

-- ---- the log ---------------------------------------------------------------------------------------------------------

-- Cache 1, or two sessions' positions would not be in the order in which they were taken.
create sequence sync.change_position as bigint cache 1;

create table sync.sync_changes (
  id uuid primary key default gen_random_uuid(),
  position bigint not null default nextval('sync.change_position'),
  -- Whether a reader has seen it is decided by the transaction that wrote it: see feed.events.
  xid xid8 not null default pg_current_xact_id(),
  user_id uuid not null default auth.current_principal_id(),
  space_id text,
  app_id text not null,
  table_name text not null,
  record_id text not null,
  op text not null,
  data jsonb,
  field_meta jsonb not null default '{}',
  client_id text not null,
  change_id text not null,
  schema_version int not null default 1,
  actor jsonb,
  origin text,
  created_at timestamptz not null default clock_timestamp(),
  -- What reading it costs: as text, because 1e300 takes three bytes here and three hundred there.
  bytes int not null generated always as (
    coalesce(octet_length(data::text), 0) + octet_length(field_meta::text) + coalesce(octet_length(actor::text), 0)
  ) stored,
  constraint sync_changes_change_id_key unique (user_id, app_id, client_id, change_id),
  constraint sync_changes_app_id_check check (btrim(app_id) <> '' and octet_length(app_id) <= 200),
  constraint sync_changes_table_name_check check (btrim(table_name) <> '' and octet_length(table_name) <= 200),
  constraint sync_changes_record_id_check check (btrim(record_id) <> '' and octet_length(record_id) <= 500),
  constraint sync_changes_client_id_check check (btrim(client_id) <> '' and octet_length(client_id) <= 200),
  constraint sync_changes_change_id_check check (btrim(change_id) <> '' and octet_length(change_id) <= 200),
  constraint sync_changes_op_check check (op in ('insert', 'update', 'delete')),
  constraint sync_changes_data_check check (
    case when op = 'delete' then data is null or jsonb_typeof(data) = 'object' else data is not null and jsonb_typeof(data) = 'object' end
  ),
  -- One spelling for each time: in UTC, with microseconds. So they compare as they are.
  constraint sync_changes_field_meta_check check (
    jsonb_typeof(field_meta) = 'object'
    and not jsonb_path_exists(field_meta, '$.* ? (!(@ like_regex "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$"))')
  ),
  constraint sync_changes_schema_version_check check (schema_version >= 1),
  constraint sync_changes_origin_check check (origin in ('user', 'agent', 'system', 'migration')),
  constraint sync_changes_created_at_check check (isfinite(created_at)),
  constraint sync_changes_bytes_check check (bytes <= 10000000)
);
comment on table sync.sync_changes is 'What clients changed, append-only. Write with sync.push_changes.';
comment on column sync.sync_changes.position is 'Order within what becomes visible at once: see sync.read_changes.';
comment on column sync.sync_changes.user_id is 'Whose change it is.';
comment on column sync.sync_changes.space_id is 'The space whose members share it; null: its author''s alone.';
comment on column sync.sync_changes.data is 'The fields that it writes; of an insert all of them.';
comment on column sync.sync_changes.field_meta is 'When each field was written, by the client''s clock: {"field": "2026-11-21T09:30:00.000000Z"}.';
comment on column sync.sync_changes.change_id is 'The client''s own id: pushed again under it, a change is not stored twice.';
comment on column sync.sync_changes.actor is 'Who did it, opaque; null: the user.';
comment on column sync.sync_changes.origin is 'user, agent, system or migration; null: user.';
comment on column sync.sync_changes.created_at is 'When it was stored.';

-- A pull looks by transaction for its first page and goes along the positions for the others.
create index idx_sync_changes_since on sync.sync_changes (user_id, app_id, xid);
create index idx_sync_changes_user_app on sync.sync_changes (user_id, app_id, position);
create index idx_sync_changes_user_space_app_since on sync.sync_changes (space_id, app_id, xid) where space_id is not null;
create index idx_sync_changes_user_space_app on sync.sync_changes (space_id, app_id, position) where space_id is not null;
create index idx_sync_changes_table_record on sync.sync_changes (app_id, table_name, record_id);

-- ---- the records -----------------------------------------------------------------------------------------------------

create table sync.records (
  -- Of a space, or of a user: a space's id may look like a user's, so they do not share a column.
  space_id text,
  user_id uuid,
  app_id text not null,
  table_name text not null,
  record_id text not null,
  schema_version int not null,
  data jsonb not null,
  field_meta jsonb not null,
  field_positions jsonb not null,
  written_at timestamptz,
  written_position bigint,
  deleted_at timestamptz,
  deleted_position bigint,
  position bigint not null,
  bytes int not null generated always as (
    octet_length(data::text) + octet_length(field_meta::text) + octet_length(field_positions::text)
  ) stored,
  constraint records_key unique nulls not distinct (space_id, user_id, app_id, table_name, record_id),
  constraint records_owner_check check (num_nonnulls(space_id, user_id) = 1),
  constraint records_written_check check (num_nulls(written_at, written_position) in (0, 2)),
  constraint records_deleted_check check (num_nulls(deleted_at, deleted_position) in (0, 2)),
  -- Many small changes of many fields would make one that nobody can read.
  constraint records_bytes_check check (bytes <= 20000000)
) with (fillfactor = 80);
comment on table sync.records is 'Each record as all changes together make it: of each field the newest write. Kept by the log''s own insert.';
comment on column sync.records.data is 'The fields, without those that the newest delete is newer than.';
comment on column sync.records.field_meta is 'When each field was written.';
comment on column sync.records.field_positions is 'By which change each field was written: of two with one time the later wins.';
comment on column sync.records.written_at is 'The newest write. The record is there if it is newer than the newest delete.';
comment on column sync.records.deleted_at is 'The newest delete, also of a record that a newer write brought back.';
comment on column sync.records.position is 'The last change that it knows of.';

-- ---- schema versions -------------------------------------------------------------------------------------------------

create table sync.app_versions (
  app_id text not null,
  version int not null,
  lifts jsonb not null default '[]',
  created_at timestamptz not null default clock_timestamp(),
  constraint app_versions_pkey primary key (app_id, version),
  constraint app_versions_version_check check (version >= 2),
  constraint app_versions_lifts_check check (jsonb_typeof(lifts) = 'array')
);
comment on table sync.app_versions is 'The schema versions of each app beyond the first. Register with sync.register_version.';
comment on column sync.app_versions.lifts is 'How rows of the version before become rows of this: [{"table", "rename": {"from": "to"}, "drop": ["field"]}].';
grant select on sync.app_versions to treeline_runtime;

-- ---- who may ---------------------------------------------------------------------------------------------------------

-- Forced: the owner of the schema is bound as well.
alter table sync.sync_changes enable row level security, force row level security;
alter table sync.records enable row level security, force row level security;

-- A row of a space is written by those who may write there, and by nobody in another's name: a stranger's delete must never
-- reach the members.
create policy sync_changes_user_isolation on sync.sync_changes
  using (user_id = (select auth.current_principal_id()))
  with check (
    user_id = (select auth.current_principal_id())
    and (space_id is null or space_id = any ((select auth.current_space_ids())::text[]) and (
      select m.role from auth.space_members m
      where m.space_id = sync_changes.space_id and m.principal_id = (select auth.current_principal_id())
    ) = any ('{owner,editor}'))
  );
create policy sync_changes_space_member_read on sync.sync_changes for select
  using ((select auth.current_principal_id()) is not null and space_id = any ((select auth.current_space_ids())::text[]));

-- Also for what a trigger of the owner's keeps: of those rows alone that the writer may see. Nobody else has the privilege.
create policy records_user_isolation on sync.records
  using (user_id = (select auth.current_principal_id()));
create policy records_space_member on sync.records
  using ((select auth.current_principal_id()) is not null and space_id = any ((select auth.current_space_ids())::text[]));

grant select on sync.sync_changes, sync.records to treeline_runtime;
grant insert (user_id, space_id, app_id, table_name, record_id, op, data, field_meta, client_id, change_id, schema_version, actor,
  origin, created_at) on sync.sync_changes to treeline_runtime;
grant usage on sequence sync.change_position to treeline_runtime;

-- ---- append-only -----------------------------------------------------------------------------------------------------

create function sync.on_kept() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform registry.refuse('FORBIDDEN', format('%s of sync.%I is refused: %s.', tg_op, tg_table_name, case tg_table_name
    when 'records' then 'records follow the log of changes'
    else 'the log of changes is only ever appended to, with sync.push_changes'
  end));
  return null;
end
$$;
create trigger sync_changes_no_delete before delete or truncate on sync.sync_changes
  for each statement execute function sync.on_kept();
-- But for the transaction, which a restored database counts anew: see feed.open.
create trigger sync_changes_no_update before update of id, position, user_id, space_id, app_id, table_name, record_id, op, data,
  field_meta, client_id, change_id, schema_version, actor, origin, created_at on sync.sync_changes
  for each statement execute function sync.on_kept();
create trigger records_kept before insert or update or delete on sync.records
  for each row when (pg_trigger_depth() = 0) execute function sync.on_kept();
create trigger records_no_truncate before truncate on sync.records
  for each statement execute function sync.on_kept();
