-- Why: what clients do with the log: push, pull, read the records, take everything out and put it in again. With the
-- caller's rights: the policies decide.
-- Locks: nothing but the new functions.

-- ---- who asks --------------------------------------------------------------------------------------------------------

-- The spaces as they are now, not as they were when somebody signed in.
create function sync.enter() returns text[]
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_principal uuid := auth.current_principal_id();
  v_spaces text[];
begin
  if v_principal is null then
    perform registry.refuse('FORBIDDEN', 'Changes belong to their authors: say who asks, with app.current_user_id.');
  end if;
  v_spaces := array(select m.space_id from auth.space_members m where m.principal_id = v_principal order by m.space_id);
  perform set_config('app.current_user_space_ids', array_to_string(v_spaces, ','), true);
  return v_spaces;
end
$$;
comment on function sync.enter is 'Lets the transaction see what its principal may see, and answers the spaces that it is a member of.';

-- ---- checking --------------------------------------------------------------------------------------------------------

-- Writers of JSON in many languages call themselves for each level, and give up on some thousands.
create function sync.is_too_deep(p_value jsonb, p_most int) returns boolean
language sql immutable
as $$
  select coalesce(jsonb_path_exists(p_value, format('$.**{%s}', p_most)::jsonpath), false)
$$;

-- A number of eight bytes can have a hundred thousand digits. Such ones no reader of JSON holds; of others with more digits
-- than bytes, which are within what readers hold, there may be so many.
create function sync.has_long_numbers(p_value jsonb, p_most_bytes bigint) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_path_exists(p_value, 'strict $.** ? (@.type() == "number" && (@.abs() > 1e309 || @.abs() < 1e-400 && @ != 0))')
    -- As an array: one by one they would be taken from the front of a list, which takes the square of their number.
    or 330 * jsonb_array_length(jsonb_path_query_array(
      p_value, 'strict $.** ? (@.type() == "number" && (@.abs() > 1e30 || @.abs() < 1e-30 && @ != 0))'
    ))::bigint > p_most_bytes
$$;

create function sync.is_time(p_text text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_text ~ '^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$'
    -- In the year before the first, by an offset, it would be written as another time.
    and p_text::timestamptz >= '0001-01-01T00:00:00Z';
exception when invalid_datetime_format or datetime_field_overflow or invalid_time_zone_displacement_value then
  return false;
end
$$;

-- Those of a change's times that are wrong: no times, or of a clock that is far ahead.
create function sync.find_bad_time(p_field_meta jsonb) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select m.key
  from jsonb_each(p_field_meta) m
  where jsonb_typeof(m.value) <> 'null' and not case
    when jsonb_typeof(m.value) <> 'string' then false
    -- Nearly all are of this kind, and need no sub-transaction each.
    when m.value #>> '{}' ~ '^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z$'
      and m.value #>> '{}' >= '0001' or sync.is_time(m.value #>> '{}')
      then (m.value #>> '{}')::timestamptz <= clock_timestamp() + interval '1 day'
    else false
  end
  order by m.key
  limit 1
$$;

-- Whether one look at all of them finds nothing wrong: nearly always so, and told without taking them apart. What it leaves
-- to the table's constraints is the length of names. Types are asked of the values themselves: filters and comparisons look
-- into arrays.
create function sync.are_plain(p_changes jsonb, p_app_id text, p_client_id text) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not jsonb_path_exists(p_changes, '$[*].type() ? (@ != "object")')
    and not jsonb_path_exists(p_changes, '$[*] ? (
      !(@.change_id.type() == "string") || !(@.table_name.type() == "string") || !(@.record_id.type() == "string")
      || !(@.app_id.type() == "string" || $common == true) || !(@.client_id.type() == "string" || $common == true)
      || !(@.op == "insert" || @.op == "update" || @.op == "delete")
      || !(@.data.type() == "object" || @.op == "delete" && (!exists(@.data) || @.data == null))
      || @.field_meta.type() != "object" && @.field_meta.type() != "null"
      || @.field_meta.*.type() != "string"
      || exists(@.field_meta.* ? (@ < "0001" || @ > $latest
        || !(@ like_regex "^[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$")))
      || @.space_id.type() != "string" && @.space_id.type() != "null"
      || @.origin.type() != "string" && @.origin.type() != "null"
      || exists(@.origin ? (@ != "user" && @ != "agent" && @ != "system" && @ != "migration" && @ != null))
      || @.created_at.type() != "string" && @.created_at.type() != "null"
      || exists(@.created_at ? (@ != null && (@ < "0001" || @ > $now
        || !(@ like_regex "^[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?Z$"))))
    )', (
      select jsonb_build_object('common', p_app_id is not null and p_client_id is not null,
        'now', to_char(utc.now, 'YYYY-MM-DD"T"HH24:MI:SS'), 'latest', to_char(utc.now + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS'))
      from (select clock_timestamp() at time zone 'UTC' as now) utc
    ))
    -- As text: 1.0 is a whole number to a path, and none to a cast.
    and not exists (select from jsonb_path_query(p_changes, '$[*].schema_version') v where v::text !~ '^(null|-?\d{1,9})$')
    and not sync.is_too_deep(p_changes, 502)
$$;

create function sync.is_known(p_app_id text, p_client_id text, p_change_id text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  return exists (
    select from sync.sync_changes c
    where c.user_id = auth.current_principal_id() and c.app_id = p_app_id and c.client_id = p_client_id and c.change_id = p_change_id
  );
end
$$;
comment on function sync.is_known is 'Whether the caller has a change stored under this id.';

-- Says what is wrong with the first bad one, if any is.
create function sync.name_bad_change(
  p_changes jsonb, p_app_id text, p_client_id text, p_called text, p_first bigint, p_most_bytes bigint
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_common jsonb := jsonb_strip_nulls(jsonb_build_object('app_id', p_app_id, 'client_id', p_client_id));
  v_bad record;
begin
  select i.index, wrong.* into v_bad
  from (
    select ordinality - 1 as index, value as change, value -> 'data' as data, value ->> 'op' as op,
      case when jsonb_typeof(value -> 'field_meta') = 'object' then value -> 'field_meta' end as field_meta
    from (
      select e.ordinality, case when jsonb_typeof(e.value) = 'object' then e.value || v_common else e.value end as value
      from jsonb_array_elements(p_changes) with ordinality e
    ) of_common
  ) i
  cross join lateral (
    select * from (
      values
        ('INVALID', null, 'expected an object', jsonb_typeof(i.change) <> 'object'),
        ('PAYLOAD_TOO_LARGE', null, format('expected changes of at most %s bytes together, written as JSON: send the rest afterwards', p_most_bytes),
          i.index = 0 and octet_length(p_changes::text) > p_most_bytes)
      union all
      select 'INVALID', n.field, format('expected %s: text of 1 to %s bytes', n.name, n.most),
        jsonb_typeof(i.change -> n.name) is distinct from 'string' or btrim(i.change ->> n.name) = '' or octet_length(i.change ->> n.name) > n.most
      from (values ('changeId', 'change_id', 200), ('clientId', 'client_id', 200), ('appId', 'app_id', 200), ('table', 'table_name', 200),
        ('recordId', 'record_id', 500)) n (field, name, most)
      union all
      values
        ('INVALID', 'op', 'expected an op of insert, update and delete', coalesce(i.op, '') not in ('insert', 'update', 'delete')),
        ('INVALID', 'data', 'expected data: an object of the fields that it writes',
          coalesce(jsonb_typeof(i.data), 'null') <> 'object' and not (i.op = 'delete' and coalesce(jsonb_typeof(i.data), 'null') = 'null')),
        ('INVALID', 'data', 'expected values that nest at most 500 levels deep', sync.is_too_deep(i.change, 501)),
        ('INVALID', 'fieldMeta', 'expected field_meta: an object with the time of each field''s write, or nothing',
          coalesce(jsonb_typeof(i.change -> 'field_meta'), 'null') not in ('object', 'null')),
        ('INVALID', 'fieldMeta', format('expected the time of the field %s as RFC 3339 text such as 2026-11-21T09:30:00Z, at most a day '
          'ahead of the server''s clock (%s)', to_json(left(sync.find_bad_time(i.field_meta), 100)),
          to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
          sync.find_bad_time(i.field_meta) is not null),
        ('INVALID', 'schemaVersion', 'expected a whole number as schema_version, or nothing',
          coalesce(jsonb_typeof(i.change -> 'schema_version'), 'null') not in ('null', 'number')
          or i.change ->> 'schema_version' !~ '^-?\d{1,9}$'),
        ('INVALID', 'spaceId', 'expected text as space_id, or nothing',
          coalesce(jsonb_typeof(i.change -> 'space_id'), 'null') not in ('null', 'string')),
        ('INVALID', 'origin', 'expected an origin of user, agent, system and migration, or nothing; what came from the server is not pushed again',
          coalesce(jsonb_typeof(i.change -> 'origin'), 'null') not in ('null', 'string')
          or i.change ->> 'origin' not in ('user', 'agent', 'system', 'migration')),
        ('INVALID', 'createdAt', 'expected a time as created_at, not ahead of the clock, or nothing',
          i.change ->> 'created_at' is not null and not coalesce(
            case when sync.is_time(i.change ->> 'created_at') then (i.change ->> 'created_at')::timestamptz <= clock_timestamp() + interval '1 hour' end,
            false))
    ) check_of (code, field, problem, failed)
    where failed
    limit 1
  ) wrong
  order by i.index
  limit 1;
  if found then
    perform registry.refuse(v_bad.code, format('%s %s: %s.', p_called, p_first + v_bad.index, v_bad.problem),
      jsonb_build_object('index', v_bad.index, 'field', v_bad.field));
  end if;
end
$$;

-- Refuses what may not be stored; p_violated: the constraint that has refused it already, and so must this. What is given
-- beside the changes is common to all of them: put into each, it would have to be built again, which takes long where they
-- are large.
create function sync.check_changes(
  p_changes jsonb, p_app_id text, p_client_id text, p_schema_version int, p_called text, p_first bigint, p_most_bytes bigint,
  p_violated text default null
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
declare
  v_bad record;
begin
  if p_violated = 'records_bytes_check' then
    perform registry.refuse('PAYLOAD_TOO_LARGE', 'With this a record would take more than 20000000 bytes: put less into one record.',
      jsonb_build_object('field', 'data', 'limit', 20000000));
  end if;
  -- Before anything is written out.
  if sync.has_long_numbers(p_changes, p_most_bytes) then
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('%s %s: expected changes of at most %s bytes together, with all digits of their '
      'numbers: send the rest afterwards.', p_called, p_first, p_most_bytes), '{"index": 0, "field": null}');
  end if;
  if p_violated is not null or octet_length(p_changes::text) > p_most_bytes or not sync.are_plain(p_changes, p_app_id, p_client_id) then
    perform sync.name_bad_change(p_changes, p_app_id, p_client_id, p_called, p_first, p_most_bytes);
  end if;
  if p_schema_version > 1 or jsonb_path_exists(p_changes, '$[*].schema_version ? (@ > 1)') then
    select i.index, l.version as known, i.version into v_bad
    from (
      select min(ordinality) - 1 as index, coalesce(p_app_id, value ->> 'app_id') as app_id,
        coalesce((value ->> 'schema_version')::int, p_schema_version) as version
      from jsonb_array_elements(p_changes) with ordinality
      group by 2, 3
    ) i
    cross join lateral (select sync.latest_version(i.app_id) as version) l
    where i.version > l.version
    order by 1 limit 1;
    if found then
      perform registry.refuse('UNSUPPORTED_VERSION', format('%s %s: the server knows the app''s schema versions up to %s, and this is %s: an '
        'administrator registers new ones.', p_called, p_first + v_bad.index, v_bad.known, v_bad.version),
        jsonb_build_object('index', v_bad.index, 'field', 'schemaVersion', 'known', v_bad.known));
    end if;
  end if;
  if jsonb_path_exists(p_changes, '$[*].space_id ? (@ != null)') then
    select s.index, s.space_id, m.role into v_bad
    from (
      select ordinality - 1 as index, value ->> 'space_id' as space_id, coalesce(p_app_id, value ->> 'app_id') as app_id,
        coalesce(p_client_id, value ->> 'client_id') as client_id, value ->> 'change_id' as change_id
      from jsonb_array_elements(p_changes) with ordinality
      where value ->> 'space_id' is not null
      offset 0
    ) s
    left join auth.space_members m on m.space_id = s.space_id and m.principal_id = auth.current_principal_id()
    where coalesce(m.role, '') not in ('owner', 'editor')
      -- What was stored while it might be is only asked for again.
      and not sync.is_known(s.app_id, s.client_id, s.change_id)
    order by s.index
    limit 1;
    if found then
      perform registry.refuse(case when v_bad.role is null then 'NOT_FOUND' else 'FORBIDDEN' end,
        format(case
          when v_bad.role is null then '%s %s: you are in no space with the id %s: one of its owners can make you a member.'
          else '%s %s: you are a viewer of the space %s, and its owners and editors write there.'
        end, p_called, p_first + v_bad.index, to_json(left(v_bad.space_id, 80))),
        jsonb_build_object('index', v_bad.index, 'field', 'spaceId'));
    end if;
  end if;
  if p_violated is not null then
    -- The table says so of what is not wrong in itself.
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('%ss from %s on: expected changes that take at most 10000000 bytes each, with the '
      'times of all their fields.', p_called, p_first), '{"field": "data"}');
  end if;
end
$$;

-- ---- storing ---------------------------------------------------------------------------------------------------------

-- All of them or none. What is stored under its change_id already is left as it is, if it says the same.
create function sync.store_changes(
  p_changes jsonb, p_app_id text, p_client_id text, p_schema_version int, p_called text, p_first bigint
) returns table (new jsonb, known jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_new jsonb;
  v_known jsonb;
  v_differing bigint;
begin
  with stored as (
    insert into sync.sync_changes (
      app_id, client_id, change_id, table_name, record_id, op, data, space_id, schema_version, actor, origin, created_at, field_meta
    )
    select coalesce(p_app_id, i.value ->> 'app_id'), coalesce(p_client_id, i.value ->> 'client_id'), i.value ->> 'change_id',
      i.value ->> 'table_name', i.value ->> 'record_id', i.value ->> 'op', nullif(i.value -> 'data', 'null'), i.value ->> 'space_id',
      greatest(coalesce((i.value ->> 'schema_version')::int, p_schema_version, 1), 1),
      nullif(i.value -> 'actor', 'null'), i.value ->> 'origin', coalesce((i.value ->> 'created_at')::timestamptz, v_now),
      (
        -- A field of which nothing is said was written now.
        select coalesce(jsonb_object_agg(coalesce(m.key, f.key),
          to_char(coalesce(m.value::timestamptz, v_now) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), '{}')
        from jsonb_each_text(nullif(i.value -> 'field_meta', 'null')) m
        full join jsonb_object_keys(case when i.value ->> 'op' <> 'delete' then i.value -> 'data' end) f (key) on f.key = m.key
      )
    from jsonb_array_elements(p_changes) with ordinality i
    -- The policies would refuse also what is stored and need not be again.
    where i.value ->> 'space_id' is null or not sync.is_known(
      coalesce(p_app_id, i.value ->> 'app_id'), coalesce(p_client_id, i.value ->> 'client_id'), i.value ->> 'change_id')
    order by i.ordinality
    on conflict (user_id, app_id, client_id, change_id) do nothing
    returning client_id, change_id, app_id, position
  )
  select coalesce(jsonb_object_agg(jsonb_build_array(s.app_id, s.client_id, s.change_id)::text, s.position), '{}') into v_new from stored s;
  if (select count(*) from jsonb_object_keys(v_new)) = jsonb_array_length(p_changes) then
    return query select v_new, '{}'::jsonb;
    return;
  end if;
  -- Somebody else may have stored them just now: this statement sees it.
  select jsonb_object_agg(k.key, k.position), min(k.ordinality) filter (where k.differs) - 1 into v_known, v_differing
  from (
    select i.ordinality, c.position, jsonb_build_array(c.app_id, c.client_id, c.change_id)::text as key,
      (c.table_name, c.record_id, c.op, coalesce(c.data, 'null'), c.space_id) is distinct from (
        i.value ->> 'table_name', i.value ->> 'record_id', i.value ->> 'op', coalesce(i.value -> 'data', 'null'), i.value ->> 'space_id'
      ) as differs
    from (
      -- First, because the policies keep such an expression from being looked up in the index.
      select e.value, e.ordinality, coalesce(p_app_id, e.value ->> 'app_id') as app_id,
        coalesce(p_client_id, e.value ->> 'client_id') as client_id, e.value ->> 'change_id' as change_id
      from jsonb_array_elements(p_changes) with ordinality e
      offset 0
    ) i
    cross join lateral (
      select c.* from sync.sync_changes c
      where c.user_id = (select auth.current_principal_id()) and c.app_id = i.app_id and c.client_id = i.client_id
        and c.change_id = i.change_id
      limit 1
    ) c
  ) k;
  if v_differing is not null then
    perform registry.refuse('CONFLICT', format('%s %s: another change is stored under its change_id %s: each change needs an id of its own.',
      p_called, p_first + v_differing, to_json(left(p_changes -> v_differing::int ->> 'change_id', 100))),
      jsonb_build_object('index', v_differing, 'field', 'changeId'));
  end if;
  return query select v_new, v_known;
end
$$;

create function sync.push_changes(p_app_id text, p_client_id text, p_schema_version int, p_changes jsonb)
returns table (receipts jsonb, stored int, xid text, spaces text[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_most constant int := 500;
  v_most_bytes constant bigint := 10000000;
  v_spaces text[] := sync.enter();
  v_stored record;
  v_violated text;
begin
  if p_app_id is null or p_client_id is null then
    perform registry.refuse('INVALID', 'Expected an app and a client.', jsonb_build_object('field', case when p_app_id is null then 'appId' else 'clientId' end));
  elsif p_changes is null or jsonb_typeof(p_changes) <> 'array' or jsonb_array_length(p_changes) = 0 then
    perform registry.refuse('INVALID', 'Expected at least one change, in an array.', '{"field": null}');
  elsif jsonb_array_length(p_changes) > v_most then
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('Expected at most %s changes at once, got %s: send the rest afterwards.',
      v_most, jsonb_array_length(p_changes)), jsonb_build_object('limit', v_most));
  end if;
  perform sync.check_changes(p_changes, p_app_id, p_client_id, p_schema_version, 'Change', 0, v_most_bytes);
  begin
    select * into v_stored from sync.store_changes(p_changes, p_app_id, p_client_id, p_schema_version, 'Change', 0);
  exception when check_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform sync.check_changes(p_changes, p_app_id, p_client_id, p_schema_version, 'Change', 0, v_most_bytes, v_violated);
  end;
  return query
  select jsonb_agg(jsonb_build_object(
      'change_id', i.value ->> 'change_id',
      'position', coalesce(v_stored.new -> k.key, v_stored.known -> k.key),
      'duplicate', not v_stored.new ? k.key or k.time > 1
    ) order by i.ordinality),
    (select count(*)::int from jsonb_object_keys(v_stored.new)), pg_current_xact_id_if_assigned()::text, v_spaces
  from (
    select value, ordinality, row_number() over (partition by value ->> 'change_id' order by ordinality) as time
    from jsonb_array_elements(p_changes) with ordinality
  ) i
  cross join lateral (select jsonb_build_array(p_app_id, p_client_id, i.value ->> 'change_id')::text as key, i.time) k;
end
$$;
comment on function sync.push_changes is
  'Stores changes ({"change_id", "table_name", "record_id", "op", "data", "field_meta"?, "space_id"?, "actor"?, "origin"?, '
  '"schema_version"?}) in the order given, all or none, with the caller''s rights. What is stored already is no error. Answers '
  'for each its position, and whether it was known.';

-- ---- pulling ---------------------------------------------------------------------------------------------------------

-- A page begins where a snapshot ends or after a position, as in feed.read; and each of the two ways has its plan.
create function sync.first_changes(
  p_spaces text[], p_app_id text, p_tables text[], p_exclude_client_id text, p_prev pg_snapshot, p_next pg_snapshot, p_limit int
) returns table ("position" bigint, id uuid, bytes int)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.current_principal_id();
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  return query
  select f.position, f.id, f.bytes
  from (
    select c.position, c.id, c.bytes, c.xid, c.table_name, c.client_id
    from sync.sync_changes c
    where c.user_id = v_user and c.app_id = p_app_id and c.xid = any (v_open)
    union all
    select c.position, c.id, c.bytes, c.xid, c.table_name, c.client_id
    from sync.sync_changes c
    where c.user_id = v_user and c.app_id = p_app_id and c.xid >= v_from
    union all
    select c.position, c.id, c.bytes, c.xid, c.table_name, c.client_id
    from unnest(p_spaces) s (id)
    cross join lateral (
      select c.* from sync.sync_changes c where c.space_id = s.id and c.app_id = p_app_id and c.xid = any (v_open) and c.user_id <> v_user
      union all
      select c.* from sync.sync_changes c where c.space_id = s.id and c.app_id = p_app_id and c.xid >= v_from and c.user_id <> v_user
    ) c
  ) f
  where pg_visible_in_snapshot(f.xid, p_next) and (p_tables is null or f.table_name = any (p_tables))
    and (p_exclude_client_id is null or f.client_id <> p_exclude_client_id)
  order by f.position
  limit p_limit;
end
$$;

create function sync.further_changes(
  p_spaces text[], p_app_id text, p_tables text[], p_exclude_client_id text, p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_limit int
) returns table ("position" bigint, id uuid, bytes int)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.current_principal_id();
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  return query
  select f.position, f.id, f.bytes
  from (
    (
      select c.position, c.id, c.bytes
      from sync.sync_changes c
      where c.user_id = v_user and c.app_id = p_app_id and c.position > p_after
        and (c.xid >= v_from or c.xid = any (v_open)) and pg_visible_in_snapshot(c.xid, p_next)
        and (p_tables is null or c.table_name = any (p_tables))
        and (p_exclude_client_id is null or c.client_id <> p_exclude_client_id)
      order by c.position limit p_limit
    )
    -- One's own in a space are found twice. Left out here, they would all be looked at for each page.
    union
    select c.position, c.id, c.bytes
    from unnest(p_spaces) s (id)
    cross join lateral (
      select c.position, c.id, c.bytes
      from sync.sync_changes c
      where c.space_id = s.id and c.app_id = p_app_id and c.position > p_after
        and (c.xid >= v_from or c.xid = any (v_open)) and pg_visible_in_snapshot(c.xid, p_next)
        and (p_tables is null or c.table_name = any (p_tables))
        and (p_exclude_client_id is null or c.client_id <> p_exclude_client_id)
      order by c.position limit p_limit
    ) c
  ) f
  order by f.position
  limit p_limit;
end
$$;

create function sync.find_changes(
  p_spaces text[], p_app_id text, p_tables text[], p_exclude_client_id text, p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_limit int
) returns table ("position" bigint, id uuid, bytes int)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_after is null then
    return query select * from sync.first_changes(p_spaces, p_app_id, p_tables, p_exclude_client_id, p_prev, p_next, p_limit);
  else
    return query select * from sync.further_changes(p_spaces, p_app_id, p_tables, p_exclude_client_id, p_prev, p_next, p_after, p_limit);
  end if;
end
$$;

create function sync.read_changes(
  p_app_id text, p_tables text[], p_exclude_client_id text, p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_limit int,
  p_most_bytes bigint default 8000000
) returns table (next pg_snapshot, changes json, complete boolean, ahead boolean, spaces text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_spaces text[] := sync.enter();
  -- Stable: the statement's own snapshot, which is also the one that the rows are read with.
  v_next pg_snapshot := coalesce(p_next, pg_current_snapshot());
  v_prev pg_snapshot := coalesce(p_prev, '1:1:');
  v_latest int := sync.latest_version(p_app_id);
begin
  return query
  with found as (
    select f.position, f.id, coalesce(sum(f.bytes) over (order by f.position rows between unbounded preceding and 1 preceding), 0) as before
    from sync.find_changes(v_spaces, p_app_id, p_tables, p_exclude_client_id, v_prev, v_next,
      -- From the beginning it is all of them, and they are there in order.
      case when p_after is null and v_prev::text = '1:1:' then 0 else p_after end, p_limit) f
  )
  select v_next,
    coalesce((
      select json_agg(json_build_object(
        'id', c.id, 'position', c.position::text, 'user_id', c.user_id, 'space_id', c.space_id, 'app_id', c.app_id, 'table_name', c.table_name,
        'record_id', c.record_id, 'op', c.op, 'client_id', c.client_id, 'change_id', c.change_id, 'actor', c.actor, 'origin', c.origin,
        'created_at', c.created_at, 'bytes', c.bytes,
        'data', case when lifted.fields is null then c.data else (lifted.fields).data end,
        -- Without a field that was not dropped, it still says when it was written.
        'field_meta', case when lifted.fields is null then c.field_meta else (lifted.fields).field_meta end,
        'schema_version', greatest(c.schema_version, v_latest)
      ) order by c.position)
      from found f
      join sync.sync_changes c on c.id = f.id
      cross join lateral (
        select case when c.schema_version < v_latest and c.op <> 'delete'
          then sync.lift_fields(c.app_id, c.table_name, c.schema_version, v_latest, row(c.data, c.field_meta, null)) end as fields
      ) lifted
      where f.before < p_most_bytes
    ), '[]'),
    (select count(*) < p_limit and coalesce(bool_and(f.before < p_most_bytes), true) from found f),
    -- A snapshot of this log's past has seen nothing that is yet to come.
    pg_snapshot_xmax(v_prev) > pg_snapshot_xmax(pg_current_snapshot()) or pg_snapshot_xmax(v_next) > pg_snapshot_xmax(pg_current_snapshot()),
    v_spaces;
end
$$;
comment on function sync.read_changes is
  'The changes of an app that became visible to the caller between two snapshots (from the beginning where p_prev is null, up '
  'to now where p_next is null), by position, after a position where one is given, as one page; complete: there are no more.';

-- ---- records ---------------------------------------------------------------------------------------------------------

-- Place by place, and no further than a page goes: whoever is in many spaces has not all of them looked at.
create function sync.find_records(
  p_places text[], p_app_id text, p_table_name text, p_after_place text, p_after_record_id text, p_limit int
) returns table (place text, record sync.records)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.current_principal_id();
  v_place text;
  v_after text;
  v_found int;
  v_left int := p_limit;
begin
  foreach v_place in array p_places loop
    continue when v_place < p_after_place;
    -- A variable, because the policies keep an expression from being looked up in the index.
    v_after := case when v_place = p_after_place then p_after_record_id else '' end;
    if v_place = '' then
      return query
      select v_place, r from sync.records r
      where r.space_id is null and r.user_id = v_user and r.app_id = p_app_id and r.table_name = p_table_name and r.record_id > v_after
      order by r.record_id limit v_left;
    else
      return query
      select v_place, r from sync.records r
      where r.space_id = v_place and r.user_id is null and r.app_id = p_app_id and r.table_name = p_table_name and r.record_id > v_after
      order by r.record_id limit v_left;
    end if;
    get diagnostics v_found = row_count;
    v_left := v_left - v_found;
    exit when v_left = 0;
  end loop;
end
$$;

create function sync.list_records(
  p_app_id text, p_table_name text, p_after_space_id text, p_after_record_id text, p_limit int, p_most_bytes bigint default 8000000
) returns table (snapshot pg_snapshot, records json, complete boolean, spaces text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_spaces text[] := sync.enter();
  v_latest int := sync.latest_version(p_app_id);
begin
  return query
  with found as (
    select f.place, (f.record).*,
      coalesce(sum((f.record).bytes) over (order by f.place, (f.record).record_id rows between unbounded preceding and 1 preceding), 0) as before
    -- One's own come first.
    from sync.find_records(array[''] || v_spaces, p_app_id, p_table_name, coalesce(p_after_space_id, ''), coalesce(p_after_record_id, ''),
      p_limit + 1) f
  ), page as (
    select f.* from found f where f.before < p_most_bytes order by f.place, f.record_id limit p_limit
  )
  select pg_current_snapshot(),
    coalesce((
      select json_agg(json_build_object(
        'place', p.place, 'space_id', p.space_id, 'table_name', p.table_name, 'record_id', p.record_id,
        'schema_version', greatest(p.schema_version, v_latest), 'data', lifted.data, 'field_meta', lifted.field_meta,
        'field_positions', lifted.field_positions, 'written_at', p.written_at, 'written_position', p.written_position::text,
        'deleted_at', p.deleted_at, 'deleted_position', p.deleted_position::text, 'bytes', p.bytes
      ) order by p.place, p.record_id)
      from page p
      cross join lateral (
        select l.* from sync.lift_fields(p.app_id, p.table_name, p.schema_version, v_latest,
          row(p.data, p.field_meta, p.field_positions)) l
        where p.schema_version < v_latest
        union all
        select p.data, p.field_meta, p.field_positions where p.schema_version >= v_latest
      ) lifted
    ), '[]'),
    (select count(*) from found) = (select count(*) from page),
    v_spaces;
end
$$;
comment on function sync.list_records is
  'The records of a table that the caller may see, deleted ones too: its own, then by space; after a record where one is given, as one page.';

create function sync.check_records()
returns table (space_id text, user_id uuid, app_id text, table_name text, record_id text, stored sync.record_state, recomputed sync.record_state)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_owner record;
begin
  -- One after the other, as somebody who may see them.
  for v_owner in
    select p.id as user_id, p.id as principal_id, null::text as space_id from auth.principals p
    union all
    select null, (array_agg(m.principal_id))[1], m.space_id from auth.space_members m group by m.space_id
  loop
    perform set_config('app.current_user_id', v_owner.principal_id::text, true);
    perform set_config('app.current_user_space_ids', coalesce(v_owner.space_id, ''), true);
    return query
    select v_owner.space_id, v_owner.user_id, coalesce(r.app_id, l.app_id), coalesce(r.table_name, l.table_name),
      coalesce(r.record_id, l.record_id), r.state, l.state
    from (
      select c.app_id, c.table_name, c.record_id,
        sync.merged(sync.lift_state(c.app_id, c.table_name, c.schema_version, sync.latest_version(c.app_id), sync.state_of(c))) as state
      from sync.sync_changes c
      where case when v_owner.space_id is null then c.user_id = v_owner.user_id and c.space_id is null else c.space_id = v_owner.space_id end
      group by c.app_id, c.table_name, c.record_id
    ) l
    full join (
      select r.app_id, r.table_name, r.record_id, sync.lift_state(r.app_id, r.table_name, r.schema_version,
        sync.latest_version(r.app_id), row(r.data, r.field_meta, r.field_positions, r.written_at, r.written_position, r.deleted_at, r.deleted_position, r.position)) as state
      from sync.records r
      where r.space_id is not distinct from v_owner.space_id and r.user_id is not distinct from v_owner.user_id
    ) r on r.app_id = l.app_id and r.table_name = l.table_name and r.record_id = l.record_id
    where r.state is distinct from l.state;
  end loop;
  perform set_config('app.current_user_id', '', true);
  perform set_config('app.current_user_space_ids', '', true);
end
$$;
comment on function sync.check_records is
  'For operators: the records that are not as their changes make them, by making each again from the log. No row: all are right.';

-- ---- export and import -----------------------------------------------------------------------------------------------

-- Page by page, so that nothing is held while a slow client reads; all pages up to the snapshot that the first one took.
create function sync.export_changes(
  p_app_ids text[], p_next pg_snapshot, p_after_app_id text, p_after_position bigint, p_limit int, p_most_bytes bigint
) returns table (next pg_snapshot, lines text, counts json, last_app_id text, last_position bigint, complete boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.current_principal_id();
  v_next pg_snapshot := coalesce(p_next, pg_current_snapshot());
begin
  perform sync.enter();
  return query
  with found as (
    select f.*, coalesce(sum(f.bytes) over (order by f.app_id, f.position rows between unbounded preceding and 1 preceding), 0) as before
    from (
      select c.* from sync.sync_changes c
      where c.user_id = v_user and (c.app_id, c.position) > (p_after_app_id, p_after_position)
        and pg_visible_in_snapshot(c.xid, v_next) and (p_app_ids is null or c.app_id = any (p_app_ids))
      order by c.app_id, c.position limit p_limit
    ) f
  ), page as (
    select f.app_id, f.position, f.schema_version, json_build_object(
      'app_id', f.app_id, 'client_id', f.client_id, 'change_id', f.change_id, 'table_name', f.table_name, 'record_id', f.record_id,
      'op', f.op, 'data', f.data, 'field_meta', f.field_meta, 'space_id', f.space_id, 'schema_version', f.schema_version,
      'actor', f.actor, 'origin', f.origin, 'created_at', to_char(f.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text as line
    from found f where f.before < p_most_bytes
  ), last as (
    select p.app_id, p.position from page p order by p.app_id desc, p.position desc limit 1
  )
  select v_next, coalesce((select string_agg(p.line || E'\n', '' order by p.app_id, p.position) from page p), ''),
    (select coalesce(json_agg(c), '[]') from (
      select p.app_id, p.schema_version, count(*)::int as count from page p group by p.app_id, p.schema_version
    ) c),
    (select l.app_id from last l), (select l.position from last l),
    (select count(*) < p_limit and coalesce(bool_and(f.before < p_most_bytes), true) from found f);
end
$$;
comment on function sync.export_changes is
  'The caller''s own changes as lines of JSON, by app and position, as one page; the counts are of this page.';

create function sync.import_changes(p_lines jsonb, p_first_line bigint) returns table (stored int, counts json)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_most_bytes constant bigint := 100000000;
  v_stored record;
  v_violated text;
begin
  perform sync.enter();
  perform sync.check_changes(p_lines, null, null, null, 'Line', p_first_line, v_most_bytes);
  begin
    select * into v_stored from sync.store_changes(p_lines, null, null, null, 'Line', p_first_line);
  exception when check_violation then
    get stacked diagnostics v_violated = constraint_name;
    perform sync.check_changes(p_lines, null, null, null, 'Line', p_first_line, v_most_bytes, v_violated);
  end;
  return query
  select (select count(*)::int from jsonb_object_keys(v_stored.new)), (
    select coalesce(json_agg(c), '[]') from (
      select l.value ->> 'app_id' as app_id, greatest(coalesce((l.value ->> 'schema_version')::int, 1), 1) as schema_version, count(*)::int as count
      from jsonb_array_elements(p_lines) l group by 1, 2
    ) c
  );
end
$$;
comment on function sync.import_changes is
  'Stores changes that sync.export_changes wrote, as the caller''s own; what is stored already is no error. Answers how many are new.';

-- ---- who may call what -----------------------------------------------------------------------------------------------

revoke execute on all functions in schema sync from public;
grant execute on function sync.enter, sync.latest_version, sync.rename_field, sync.lift_fields, sync.register_version, sync.is_too_deep,
  sync.has_long_numbers, sync.is_time, sync.find_bad_time, sync.are_plain, sync.is_known, sync.name_bad_change, sync.check_changes,
  sync.store_changes, sync.push_changes, sync.first_changes, sync.further_changes,
  sync.find_changes, sync.read_changes, sync.find_records, sync.list_records, sync.export_changes, sync.import_changes
to treeline_runtime;
