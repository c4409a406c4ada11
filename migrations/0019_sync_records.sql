-- Why: how changes become records. Every change is a small state of its own, and states are merged: of each field the newest
-- write, of the record the newest delete. In whatever order they are merged the result is the same, so that the records can
-- always be made again from the log.
-- Locks: nothing but the new objects. At run time an insert into the log holds the records that it changes until its commit;
-- each statement takes them in the order of their keys.

-- ---- lifting rows of older schema versions ---------------------------------------------------------------------------

create function sync.latest_version(p_app_id text) returns int
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce((select max(v.version) from sync.app_versions v where v.app_id = p_app_id), 1)
$$;
comment on function sync.latest_version is 'The newest schema version of an app that is registered; 1 when none is.';

create type sync.fields as (data jsonb, field_meta jsonb, field_positions jsonb);
comment on type sync.fields is 'Values, times and positions, each by field.';

-- A field that was renamed onto one that is there, too, wins over it as any other write would.
create function sync.rename_field(p_fields sync.fields, p_from text, p_to text) returns sync.fields
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_moves boolean := not p_fields.data ? p_to or row(
    p_fields.field_meta ->> p_from collate "C", (p_fields.field_positions ->> p_from)::bigint
  ) > row(
    p_fields.field_meta ->> p_to collate "C", (p_fields.field_positions ->> p_to)::bigint
  );
  v_fields sync.fields := row(p_fields.data - p_from, p_fields.field_meta - p_from, p_fields.field_positions - p_from);
begin
  if v_moves then
    v_fields.data := v_fields.data || jsonb_build_object(p_to, p_fields.data -> p_from);
    v_fields.field_meta := v_fields.field_meta || jsonb_build_object(p_to, p_fields.field_meta -> p_from);
    v_fields.field_positions := v_fields.field_positions || jsonb_build_object(p_to, p_fields.field_positions -> p_from);
  end if;
  return v_fields;
end
$$;

create function sync.lift_fields(p_app_id text, p_table_name text, p_version int, p_to int, p_fields sync.fields) returns sync.fields
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_fields sync.fields := p_fields;
  v_lift jsonb;
  v_name record;
begin
  for v_lift in
    select l.value from sync.app_versions v cross join lateral jsonb_array_elements(v.lifts) with ordinality l
    where v.app_id = p_app_id and v.version > p_version and v.version <= p_to and l.value ->> 'table' = p_table_name
    order by v.version, l.ordinality
  loop
    for v_name in select r.key, r.value from jsonb_each_text(coalesce(v_lift -> 'rename', '{}')) r order by r.key loop
      if v_fields.data ? v_name.key then
        v_fields := sync.rename_field(v_fields, v_name.key, v_name.value);
      end if;
    end loop;
    for v_name in select d.value from jsonb_array_elements_text(coalesce(v_lift -> 'drop', '[]')) d loop
      -- Of a change, which has no positions, the time stays: that is when it wrote its record, whatever is left of it.
      v_fields := row(v_fields.data - v_name.value,
        case when v_fields.field_positions is null then v_fields.field_meta else v_fields.field_meta - v_name.value end,
        v_fields.field_positions - v_name.value);
    end loop;
  end loop;
  return v_fields;
end
$$;
comment on function sync.lift_fields is 'The fields of a row of one schema version, as those of a newer one.';

create function sync.register_version(p_app_id text, p_version int, p_lifts jsonb default '[]') returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_latest int;
  v_bad int;
begin
  perform auth.require_admin();
  if coalesce(btrim(p_app_id), '') = '' or octet_length(p_app_id) > 200 then
    perform registry.refuse('INVALID', 'Expected an app: text of 1 to 200 bytes.', '{"field": "appId"}');
  elsif coalesce(jsonb_typeof(p_lifts), 'null') <> 'array' then
    perform registry.refuse('INVALID', 'Expected lifts as an array.', '{"field": "lifts"}');
  end if;
  select (l.ordinality - 1)::int into v_bad
  from jsonb_array_elements(p_lifts) with ordinality l
  where not coalesce(
    jsonb_typeof(l.value) = 'object' and jsonb_typeof(l.value -> 'table') = 'string'
    and jsonb_typeof(coalesce(l.value -> 'rename', '{}')) = 'object'
    and not jsonb_path_exists(coalesce(l.value -> 'rename', '{}'), '$.* ? (@.type() != "string")')
    -- From here to there and back, or one after the other, would depend on the order.
    and not exists (select from jsonb_each_text(coalesce(l.value -> 'rename', '{}')) r where l.value -> 'rename' ? r.value)
    and (select count(distinct r.value) = count(*) from jsonb_each_text(coalesce(l.value -> 'rename', '{}')) r)
    -- Renamed to or from a field that is dropped, which of the two would it be?
    and not exists (
      select from jsonb_each_text(coalesce(l.value -> 'rename', '{}')) r
      where coalesce(l.value -> 'drop', '[]') ?| array[r.key, r.value]
    )
    and jsonb_typeof(coalesce(l.value -> 'drop', '[]')) = 'array'
    and not jsonb_path_exists(coalesce(l.value -> 'drop', '[]'), 'strict $[*] ? (@.type() != "string")'), false)
  order by 1 limit 1;
  if found then
    perform registry.refuse('INVALID', format('Lift %s: expected {"table", "rename": {"from": "to"}, "drop": ["field"]}, without chains '
      'of renames, no two to one name, and none from or to a field that is dropped: drop it in one version, rename in the next.', v_bad), jsonb_build_object('field', 'lifts', 'index', v_bad));
  end if;
  perform pg_advisory_xact_lock(hashtextextended('sync.app_versions', 0) # hashtextextended(p_app_id, 0));
  v_latest := sync.latest_version(p_app_id);
  if p_version between 2 and v_latest
     and (select v.lifts from sync.app_versions v where v.app_id = p_app_id and v.version = p_version) = p_lifts then
    return p_version;
  elsif p_version between 1 and v_latest then
    perform registry.refuse('CONFLICT', format('The app has a version %s already, and it is another: versions are never changed.', p_version),
      jsonb_build_object('field', 'version', 'latest', v_latest));
  elsif p_version is distinct from v_latest + 1 then
    perform registry.refuse('INVALID', format('Expected version %s, the next one, got %s.', v_latest + 1, coalesce(p_version::text, 'null')),
      jsonb_build_object('field', 'version', 'latest', v_latest));
  end if;
  insert into sync.app_versions (app_id, version, lifts) values (p_app_id, p_version, p_lifts);
  return p_version;
end
$$;
comment on function sync.register_version is
  'Makes the next schema version of an app known, and how rows of the version before become rows of it; needs admin.';

-- ---- states ----------------------------------------------------------------------------------------------------------

create type sync.record_state as (
  data jsonb, field_meta jsonb, field_positions jsonb,
  written_at timestamptz, written_position bigint, deleted_at timestamptz, deleted_position bigint, position bigint
);
comment on type sync.record_state is 'A record as some changes make it: see the columns of sync.records.';

create function sync.state_of(p_change sync.sync_changes) returns sync.record_state
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state sync.record_state;
  v_timed boolean;
begin
  v_state.position := p_change.position;
  if p_change.op = 'delete' then
    v_state.data := '{}';
    v_state.field_meta := '{}';
    v_state.field_positions := '{}';
    -- When it was deleted, whatever the client calls that.
    v_state.deleted_at := coalesce((select max(m.value::timestamptz) from jsonb_each_text(p_change.field_meta) m), p_change.created_at);
    v_state.deleted_position := p_change.position;
    return v_state;
  end if;
  v_state.data := p_change.data;
  -- Joined: to look into a large value for each field would unpack it as often.
  select coalesce(jsonb_object_agg(f.key, m.value), '{}'), coalesce(jsonb_object_agg(f.key, p_change.position), '{}'),
    count(*) = count(m.value)
  into v_state.field_meta, v_state.field_positions, v_timed
  from jsonb_object_keys(p_change.data) f (key)
  left join jsonb_each_text(p_change.field_meta) m on m.key = f.key;
  if not v_timed then
    perform registry.refuse('INVALID', 'Each field needs the time of its write in field_meta: sync.push_changes fills in what is missing.');
  end if;
  -- Also of one that writes nothing, and says that the record is there.
  v_state.written_at := coalesce((select max(m.value::timestamptz) from jsonb_each_text(p_change.field_meta) m), p_change.created_at);
  v_state.written_position := p_change.position;
  return v_state;
end
$$;
comment on function sync.state_of is 'The record as this one change makes it.';

create function sync.merge_states(p_one sync.record_state, p_other sync.record_state) returns sync.record_state
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state sync.record_state;
  v_oldest timestamptz;
  v_lost text[];
  v_other_lost text[];
begin
  v_state.position := greatest(p_one.position, p_other.position);
  if p_one.written_at is null or (p_other.written_at, p_other.written_position) > (p_one.written_at, p_one.written_position) then
    v_state.written_at := p_other.written_at;
    v_state.written_position := p_other.written_position;
  else
    v_state.written_at := p_one.written_at;
    v_state.written_position := p_one.written_position;
  end if;
  if p_one.deleted_at is null or (p_other.deleted_at, p_other.deleted_position) > (p_one.deleted_at, p_one.deleted_position) then
    v_state.deleted_at := p_other.deleted_at;
    v_state.deleted_position := p_other.deleted_position;
  else
    v_state.deleted_at := p_one.deleted_at;
    v_state.deleted_position := p_one.deleted_position;
  end if;
  -- Nearly always all of one is newer than all of the other.
  if p_other.deleted_at is null then
    v_oldest := (select min(m.value collate "C") from jsonb_each_text(p_other.field_meta) m)::timestamptz;
    if (p_one.written_at is null or v_oldest > p_one.written_at) and (p_one.deleted_at is null or v_oldest > p_one.deleted_at) then
      v_state.data := p_one.data || p_other.data;
      v_state.field_meta := p_one.field_meta || p_other.field_meta;
      v_state.field_positions := p_one.field_positions || p_other.field_positions;
      return v_state;
    end if;
  end if;
  -- What loses is taken out of each. To put together what wins would take very long where values are large.
  with one as (
    select m.key, m.value::timestamptz as time, p.value::bigint as position
    from jsonb_each_text(p_one.field_meta) m join jsonb_each_text(p_one.field_positions) p on p.key = m.key
  ), other as (
    select m.key, m.value::timestamptz as time, p.value::bigint as position
    from jsonb_each_text(p_other.field_meta) m join jsonb_each_text(p_other.field_positions) p on p.key = m.key
  )
  select
    coalesce(array_agg(key) filter (where (other.time, other.position) > (one.time, one.position)
      or (one.time, one.position) <= (v_state.deleted_at, v_state.deleted_position)), '{}'),
    coalesce(array_agg(key) filter (where (one.time, one.position) > (other.time, other.position)
      or (other.time, other.position) <= (v_state.deleted_at, v_state.deleted_position)), '{}')
  into v_lost, v_other_lost
  from one full join other using (key);
  v_state.data := (p_one.data - v_lost) || (p_other.data - v_other_lost);
  v_state.field_meta := (p_one.field_meta - v_lost) || (p_other.field_meta - v_other_lost);
  v_state.field_positions := (p_one.field_positions - v_lost) || (p_other.field_positions - v_other_lost);
  return v_state;
end
$$;
comment on function sync.merge_states is
  'Of each field the newer write, of two at one time the later; without what the newest delete is newer than. In any order.';

create aggregate sync.merged(sync.record_state) (sfunc = sync.merge_states, stype = sync.record_state);
comment on aggregate sync.merged(sync.record_state) is 'The record as all of these make it.';

create function sync.lift_state(p_app_id text, p_table_name text, p_version int, p_to int, p_state sync.record_state)
returns sync.record_state
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state sync.record_state := p_state;
  v_fields sync.fields := sync.lift_fields(p_app_id, p_table_name, p_version, p_to,
    row(p_state.data, p_state.field_meta, p_state.field_positions));
begin
  v_state.data := v_fields.data;
  v_state.field_meta := v_fields.field_meta;
  v_state.field_positions := v_fields.field_positions;
  return v_state;
end
$$;

-- Two states of one record, each of its schema version, as one of the newer of the two. Volatile, to see what was registered
-- since the statement began: it may have waited for a record that another transaction then wrote in a newer version.
create function sync.merge_versions(
  p_app_id text, p_table_name text, p_version int, p_one sync.record_state, p_other_version int, p_other sync.record_state
) returns sync.record_state
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_version < p_other_version then
    return sync.merge_states(sync.lift_state(p_app_id, p_table_name, p_version, p_other_version, p_one), p_other);
  elsif p_other_version < p_version then
    return sync.merge_states(p_one, sync.lift_state(p_app_id, p_table_name, p_other_version, p_version, p_other));
  end if;
  return sync.merge_states(p_one, p_other);
end
$$;

-- ---- what an insert entails ------------------------------------------------------------------------------------------

-- Whoever inserts, by whatever statement: the records follow, and one event tells those who may read it that there is
-- something. What was changed is not in it.
create function sync.on_changes() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_refused text;
begin
  if exists (select from new_rows n where n.created_at > clock_timestamp() + interval '1 day') then
    perform registry.refuse('INVALID', 'Expected changes that were stored in the past.');
  end if;
  -- Lifts that are registered later would be applied to it.
  if exists (select from new_rows n where n.schema_version > 1 and n.schema_version > sync.latest_version(n.app_id)) then
    perform registry.refuse('UNSUPPORTED_VERSION', 'Expected changes of schema versions that are registered: see sync.register_version.');
  end if;
  insert into sync.records as r (
    space_id, user_id, app_id, table_name, record_id, schema_version,
    data, field_meta, field_positions, written_at, written_position, deleted_at, deleted_position, position
  )
  select w.space_id, w.user_id, w.app_id, w.table_name, w.record_id, w.version, (w.state).data, (w.state).field_meta,
    (w.state).field_positions, (w.state).written_at, (w.state).written_position, (w.state).deleted_at, (w.state).deleted_position,
    (w.state).position
  from (
    select n.space_id, case when n.space_id is null then n.user_id end as user_id, n.app_id, n.table_name, n.record_id, l.version,
      sync.merged(case
        when n.schema_version < l.version then sync.lift_state(n.app_id, n.table_name, n.schema_version, l.version, sync.state_of(n))
        else sync.state_of(n)
      end) as state
    from new_rows n
    join (
      select a.app_id, sync.latest_version(a.app_id) as version from (select distinct n.app_id from new_rows n) a
    ) l on l.app_id = n.app_id
    group by 1, 2, 3, 4, 5, 6
  ) w
  order by w.space_id, w.user_id, w.app_id, w.table_name, w.record_id
  on conflict on constraint records_key do update set (
    data, field_meta, field_positions, written_at, written_position, deleted_at, deleted_position, position, schema_version
  ) = (
    select m.data, m.field_meta, m.field_positions, m.written_at, m.written_position, m.deleted_at, m.deleted_position, m.position,
      greatest(r.schema_version, excluded.schema_version)
    from sync.merge_versions(r.app_id, r.table_name, r.schema_version,
      row(r.data, r.field_meta, r.field_positions, r.written_at, r.written_position, r.deleted_at, r.deleted_position, r.position),
      excluded.schema_version,
      row(excluded.data, excluded.field_meta, excluded.field_positions, excluded.written_at, excluded.written_position,
        excluded.deleted_at, excluded.deleted_position, excluded.position)) m
  );
  if not found then
    return null;
  end if;
  -- It may have waited for a record meanwhile, and the right to the space be gone.
  select n.space_id into v_refused
  from (select distinct n.space_id, n.user_id from new_rows n where n.space_id is not null) n
  where coalesce((
    select m.role from auth.space_members m where m.space_id = n.space_id and m.principal_id = n.user_id
  ), '') not in ('owner', 'editor')
  limit 1;
  if found then
    perform registry.refuse('NOT_FOUND', format('You are in no space with the id %L.', v_refused));
  end if;
  insert into feed.events (topic, op, entity_id, principal_id, user_id, space_id, data, depth)
  select 'sync_changes', 'insert', n.app_id, auth.current_principal_id(), n.user_id, n.space_id,
    jsonb_build_object('app_id', n.app_id, 'client_id', n.client_id, 'count', count(*), 'bytes', sum(n.bytes),
      -- Beyond so many it is about any.
      'tables', case when count(distinct n.table_name) <= 20 then jsonb_agg(distinct n.table_name) end),
    coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint
  from new_rows n
  group by n.user_id, n.space_id, n.app_id, n.client_id;
  if current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger sync_changes_appended after insert on sync.sync_changes
  referencing new table as new_rows for each statement execute function sync.on_changes();
