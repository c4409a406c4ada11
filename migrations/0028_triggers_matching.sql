-- Why: from a change to the outbox. One reader, whoever has the row of triggers.state locked, goes through the log and in one
-- transaction writes what matches and moves on: nothing is missed and nothing matches twice, whichever process dies when.
-- Locks: nothing but the new objects, and the functions' rows in the catalogue.

-- ---- the log tells what was written, also of offline clients ---------------------------------------------------------

-- As before, but that its event says which tables were written and how: triggers ask for it.
create or replace function sync.on_changes() returns trigger
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
      'writes', jsonb_agg(distinct jsonb_build_array(n.table_name, n.op)),
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

-- In a database that was restored, copied or promoted, transactions are counted anew for those who match, too.
create or replace function feed.open() returns table (epoch bigint, cursor_key bytea)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_identity text := feed.identity();
begin
  if not exists (select from feed.state s where s.identity = v_identity) then
    -- Two gateways may find it out at once.
    perform from feed.state for update;
    if not exists (select from feed.state s where s.identity = v_identity) then
      -- What is in the log names transactions of another history; nobody has a cursor of this one yet.
      truncate feed.events;
      -- Changes stay, and are older than every transaction to come. The policies would hide them, silently.
      alter table sync.sync_changes no force row level security;
      update sync.sync_changes set xid = '1' where xid <> '1';
      alter table sync.sync_changes force row level security;
      update triggers.state set prev = '1:1:', next = null, position = null, moved_at = clock_timestamp();
      update triggers.triggers set active_from = '1:1:';
      update feed.state s set identity = v_identity, dropped_xid = null, dropped_snapshot = null,
        -- Random, not counted: two copies of one database must not arrive at the same epoch.
        epoch = ('x' || left(replace(gen_random_uuid()::text, '-', ''), 12))::bit(48)::bigint;
    end if;
  end if;
  return query select s.epoch, s.cursor_key from feed.state s;
end
$$;

-- ---- what cannot be delivered ----------------------------------------------------------------------------------------

create type triggers.burial as (
  message_id uuid, project_id uuid, source_kind text, trigger_id uuid, script_id uuid, principal_id uuid, scopes text[], payload jsonb,
  attempts int, first_error text, last_error text, retry_max_attempts int, retry_backoff text, retry_base_ms int, depth int
);

-- Those who handle dead letters are set off by the event, as any other trigger is.
create function triggers.bury(p_burials triggers.burial[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  with buried as (
    insert into triggers.dead_letters (message_id, project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload,
      attempts, first_error, last_error, retry_max_attempts, retry_backoff, retry_base_ms, depth)
    select b.message_id, b.project_id, b.source_kind, b.trigger_id, b.script_id, b.principal_id, b.scopes, b.payload, b.attempts,
      coalesce(b.first_error, b.last_error), b.last_error, b.retry_max_attempts, b.retry_backoff, b.retry_base_ms, b.depth
    -- In their order: their times decide in which order they are listed and replayed.
    from unnest(p_burials) b
    returning id, project_id, principal_id, source_kind, trigger_id, script_id, depth
  )
  insert into feed.events (topic, op, entity_id, project_id, user_id, data, depth)
  select 'dead_letters', 'insert', b.id, b.project_id, b.principal_id,
    jsonb_build_object('source', b.source_kind, 'trigger_id', b.trigger_id, 'script_id', b.script_id), b.depth
  from buried b
$$;

create function triggers.too_deep(p_depth int) returns text
language sql immutable
as $$
  select pg_catalog.format('%s scripts have set off one another, which is as many as may (TREELINE_TRIGGER_MAX_DEPTH): '
    'does what this script changes set it off again? Replay the letter to let it run all the same.', p_depth)
$$;

-- ---- what matches ----------------------------------------------------------------------------------------------------

-- What matched: with its payload; or with the event (by its place among those of a page) or the dead letter that it is made of, because
-- a page of large payloads, each as often as there are triggers, is more than memory holds.
create type triggers.match as (
  trigger_id uuid, payload jsonb, event int, collection text, op text, depth int, dead_letter_id uuid, error text
);

create function triggers.rfc3339(p_at timestamptz) returns text
language sql stable
as $$ select pg_catalog.to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

create function triggers.event_payload(p_event feed.events, p_collection text, p_op text) returns jsonb
language sql stable
as $$
  select pg_catalog.jsonb_build_object(
    'type', pg_catalog.concat(p_collection, '.', p_op), 'timestamp', triggers.rfc3339((p_event).at),
    'position', (p_event).position::text, 'collection', p_collection, 'op', pg_catalog.upper(p_op),
    'entityId', (p_event).entity_id, 'projectId', (p_event).project_id, 'agentId', (p_event).agent_id,
    'principalId', (p_event).principal_id, 'changed', (p_event).changed, 'depth', (p_event).depth, 'data', (p_event).data)
$$;

create function triggers.letter_payload(p_letter triggers.dead_letters) returns jsonb
language sql stable
as $$
  select pg_catalog.jsonb_build_object('type', 'dead_letter', 'timestamp', triggers.rfc3339((p_letter).created_at),
    'deadLetter', pg_catalog.jsonb_build_object(
      'id', (p_letter).id, 'source', pg_catalog.upper((p_letter).source_kind), 'projectId', (p_letter).project_id,
      'triggerId', (p_letter).trigger_id, 'scriptId', (p_letter).script_id, 'principalId', (p_letter).principal_id,
      'attempts', (p_letter).attempts, 'firstError', (p_letter).first_error, 'lastError', (p_letter).last_error,
      'depth', (p_letter).depth, 'payloadBytes', (p_letter).payload_bytes,
      -- A page of letters is told to many handlers.
      'payload', case when (p_letter).payload_bytes operator(pg_catalog.<=) 65536 then (p_letter).payload end))
$$;

create type triggers.placed_match as (
  trigger_id uuid, payload jsonb, event int, collection text, op text, depth int, dead_letter_id uuid, error text, place bigint
);

create function triggers.in_order(p_matches triggers.match[]) returns setof triggers.placed_match
language sql immutable
as $$
  select m.trigger_id, m.payload, m.event, m.collection, m.op, m.depth, m.dead_letter_id, m.error, m.place
  from pg_catalog.unnest(p_matches) with ordinality as m (trigger_id, payload, event, collection, op, depth, dead_letter_id, error, place)
$$;

create function triggers.payload_of(p_match triggers.placed_match, p_events feed.events[]) returns jsonb
language sql stable
as $$
  select case
    when (p_match).payload is not null then (p_match).payload
    when (p_match).dead_letter_id is not null
      then (select triggers.letter_payload(d) from triggers.dead_letters d where d.id operator(pg_catalog.=) (p_match).dead_letter_id)
    else triggers.event_payload(p_events[(p_match).event], (p_match).collection, (p_match).op)
  end
$$;

-- Writes the outbox rows of what matched; what a condition decides on is written down to be tested first. What must not or cannot
-- run becomes a dead letter at once; but the failure of what handles one makes no further one.
create function triggers.enqueue(p_matches triggers.match[], p_events feed.events[], p_max_depth int, p_tested boolean) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_written int;
begin
  if not p_tested then
    insert into triggers.candidates (trigger_id, payload, depth, dead_letter_id)
    select m.trigger_id, triggers.payload_of(m, p_events), m.depth, m.dead_letter_id
    from triggers.in_order(p_matches) m join triggers.triggers t on t.id = m.trigger_id and t.condition is not null
    order by m.place;
    if found then
      perform pg_notify('treeline_candidates', '');
    end if;
  end if;
  insert into triggers.outbox (project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, dead_letter_id, lane,
    retry_max_attempts, retry_backoff, retry_base_ms, depth)
  select t.project_id, t.kind, t.id, t.script_id, t.registered_by_principal, t.scopes, triggers.payload_of(m, p_events), m.dead_letter_id,
    s.kind, t.retry_max_attempts, t.retry_backoff, t.retry_base_ms, m.depth
  from triggers.in_order(p_matches) m
  join triggers.triggers t on t.id = m.trigger_id and (p_tested or t.condition is null)
  join triggers.scripts s on s.id = t.script_id
  where m.error is null and (t.kind <> 'kv' or m.depth < p_max_depth)
  -- Whoever deletes the trigger, or its project, waits and then sees these rows.
  order by m.place for key share of t;
  get diagnostics v_written = row_count;
  if v_written > 0 then
    perform pg_notify('treeline_outbox', '');
  end if;
  if exists (select from unnest(p_matches) m where m.error is not null or m.depth >= p_max_depth) then
    perform triggers.bury(array(
      select row(gen_random_uuid(), t.project_id, t.kind, t.id, t.script_id, t.registered_by_principal, t.scopes, triggers.payload_of(m, p_events),
        0, null, coalesce(m.error, triggers.too_deep(m.depth)), t.retry_max_attempts, t.retry_backoff, t.retry_base_ms, m.depth)::triggers.burial
      from triggers.in_order(p_matches) m
      join triggers.triggers t on t.id = m.trigger_id and (p_tested or t.condition is null)
      where t.kind <> 'dead_letter' and (m.error is not null or (t.kind = 'kv' and m.depth >= p_max_depth))
      order by m.place
    ));
    perform triggers.lock_dead_letters(array(select m.dead_letter_id from unnest(p_matches) m where m.error is not null));
    update triggers.dead_letters d set resolution = 'handler_failed'
    from unnest(p_matches) m
    where d.id = m.dead_letter_id and m.error is not null and d.resolution is null;
  end if;
  return v_written;
end
$$;

-- ---- conditions ------------------------------------------------------------------------------------------------------

create function triggers.take_candidates(p_most int, p_quick uuid[], p_slow uuid[], p_lease_ms int)
returns table (id bigint, trigger_id uuid, condition text, payload jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := clock_timestamp();
  v_most_each constant int := 50;
  v_most_unknown constant int := 16;
begin
  return query
  with recursive waiting as (
    -- Whose candidates there are, from one to the next by the index.
    select (select c.trigger_id from triggers.candidates c order by c.trigger_id limit 1) as trigger_id
    union all
    select (select c.trigger_id from triggers.candidates c where c.trigger_id > w.trigger_id order by c.trigger_id limit 1)
    from waiting w where w.trigger_id is not null
  ), free as materialized (
    select w.trigger_id from waiting w where w.trigger_id is not null
      and exists (select from triggers.candidates c where c.trigger_id = w.trigger_id and c.taken_until <= v_now)
  ), chosen as materialized (
    (select c.id from free f cross join lateral (
      select c.id from triggers.candidates c where c.trigger_id = f.trigger_id and c.taken_until <= v_now
      order by c.id limit v_most_each for update skip locked
    ) c where f.trigger_id = any (p_quick) limit p_most)
    union all
    -- Of those that are not known one each: what is slow costs so much once.
    (select c.id from free f cross join lateral (
      select c.id from triggers.candidates c where c.trigger_id = f.trigger_id and c.taken_until <= v_now
      order by c.id limit 1 for update skip locked
    ) c where f.trigger_id <> all (p_quick) and f.trigger_id <> all (p_slow) limit v_most_unknown)
    union all
    -- Of all that are slow one, of the trigger that has waited longest.
    (select c.id from (
      select f.trigger_id from free f where f.trigger_id = any (p_slow) order by array_position(p_slow, f.trigger_id) limit 1
    ) f cross join lateral (
      select c.id from triggers.candidates c where c.trigger_id = f.trigger_id and c.taken_until <= v_now
      order by c.id limit 1 for update skip locked
    ) c)
  ), taken as (
    update triggers.candidates c set taken_until = v_now + make_interval(secs => p_lease_ms / 1000.0)
    from chosen where c.id = chosen.id
    returning c.id, c.trigger_id, c.payload
  )
  select k.id, k.trigger_id, t.condition, k.payload
  from taken k join triggers.triggers t on t.id = k.trigger_id
  order by k.id;
end
$$;
comment on function triggers.take_candidates is
  'Takes candidates to test their conditions: many of triggers that are quick, one each of some that are not known to be, and one of '
  'those that are slow, the first of the list that has any. Nobody else takes them until the lease ends.';

create function triggers.let_go_candidates(p_ids bigint[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$ update triggers.candidates c set taken_until = '-infinity' where c.id = any (p_ids) $$;
comment on function triggers.let_go_candidates is 'For whoever goes away: what was taken and not tested is anybody''s again.';

create function triggers.settle_candidates(p_results jsonb, p_max_depth int) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_ids bigint[] := array(select r.id from jsonb_to_recordset(p_results) as r (id bigint) order by r.id);
  v_matches triggers.match[];
begin
  -- First those that whoever deletes them has first.
  perform from triggers.triggers t
  where t.id in (select c.trigger_id from triggers.candidates c where c.id = any (v_ids)) order by t.id for key share;
  with settled as (
    delete from triggers.candidates c where c.id = any (v_ids) returning c.id, c.trigger_id, c.payload, c.depth, c.dead_letter_id
  )
  select array_agg(row(s.trigger_id, s.payload, null, null, null, s.depth, s.dead_letter_id, r.error)::triggers.match order by s.id)
  into v_matches
  from settled s join jsonb_to_recordset(p_results) as r (id bigint, passed boolean, error text) on r.id = s.id
  where r.passed or r.error is not null;
  return case when v_matches is null then 0 else triggers.enqueue(v_matches, null, p_max_depth, true) end;
end
$$;
comment on function triggers.settle_candidates is
  'What became of candidates: [{"id", "passed", "error"}]. Those that passed go into the outbox, those that could not be tested become '
  'dead letters. One that somebody else settled is left alone.';

-- As an event is read by feed.read, but as rows, with the transaction that wrote it. Two branches, because each must have its
-- plan: by transaction where a window begins, along the positions within it.
create function triggers.read_events(p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_topics text[], p_limit int)
returns setof feed.events
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  if p_after is null then
    return query
    with found as materialized (
      select e.* from feed.events e
      where e.xid = any (v_open) and pg_visible_in_snapshot(e.xid, p_next) and e.topic = any (p_topics)
      union all
      select e.* from feed.events e
      where e.xid >= v_from and pg_visible_in_snapshot(e.xid, p_next) and e.topic = any (p_topics)
    )
    select f.* from found f order by f.position limit p_limit;
  else
    return query
    select e.* from feed.events e
    where e.position > p_after and (e.xid >= v_from or e.xid = any (v_open))
      and pg_visible_in_snapshot(e.xid, p_next) and e.topic = any (p_topics)
    order by e.position limit p_limit;
  end if;
end
$$;

-- Whether who registered a trigger may read what the event tells of.
create function triggers.may_read(p_event feed.events, p_principal_id uuid, p_scopes text[]) returns boolean
language sql stable
as $$
  select case
    when not triggers.has_scope(p_scopes, triggers.scope_of((p_event).topic)) then false
    when (p_event).topic operator(pg_catalog.=) any ('{messages,snapshots}') then
      (select p.owner_id from registry.projects p where p.id operator(pg_catalog.=) (p_event).project_id)
        operator(pg_catalog.=) p_principal_id
      or (select m.role from auth.project_members m
        where m.project_id operator(pg_catalog.=) (p_event).project_id and m.principal_id operator(pg_catalog.=) p_principal_id) is not null
    when (p_event).topic operator(pg_catalog.=) 'sync_changes' then
      (p_event).user_id operator(pg_catalog.=) p_principal_id
      or (select m.role from auth.space_members m
        where m.space_id operator(pg_catalog.=) (p_event).space_id and m.principal_id operator(pg_catalog.=) p_principal_id) is not null
    else true
  end
$$;

-- Of what an offline client wrote, the first that a trigger means: array[collection, op], or null.
create function triggers.meant_write(p_event feed.events, p_glob text, p_ops text[]) returns text[]
language sql stable
as $$
  select array[w.collection, w.op] from (
    select pg_catalog.concat('sync:', (p_event).entity_id, ':', x ->> 0) as collection, x ->> 1 as op
    from pg_catalog.jsonb_array_elements((p_event).data -> 'writes') x
  ) w
  where triggers.glob_matches(p_glob, w.collection) and (p_ops operator(pg_catalog.=) '{}' or w.op operator(pg_catalog.=) any (p_ops))
  order by w.collection, w.op limit 1
$$;

-- Whether a dead letter is for the registrant of a trigger to see, as the policies have it.
create function triggers.may_read_letter(p_letter triggers.dead_letters, p_principal_id uuid, p_scopes text[]) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select triggers.has_scope(p_scopes, 'triggers:admin') and (
    p_letter.principal_id = p_principal_id or triggers.is_owner(p_letter.project_id, p_principal_id)
    or ('admin' = any (p_scopes) and (p_letter.project_id is null or triggers.is_ownerless(p_letter.project_id))))
$$;

-- What of these events sets off which trigger, in their order; depth is that of the outbox row to come.
create function triggers.find_matches(p_events feed.events[], p_max_depth int)
returns setof triggers.match
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with event as materialized (
    select e.row, (e.row).xid, (e.row).topic, (e.row).op, (e.row).entity_id, (e.row).project_id, (e.row).depth, e.number
    from (select p_events[n] as row, n as number from generate_subscripts(p_events, 1) n) e
  ), enabled as materialized (
    select t.id, t.project_id, t.kind, t.active_from, t.registered_by_principal, k.collection_glob, k.ops, d.source_filter,
      d.trigger_id_filter, d.script_id_filter, array(select unnest(t.scopes) intersect select unnest(p.scopes)) as scopes
    from triggers.triggers t
    join auth.principals p on p.id = t.registered_by_principal and p.disabled_at is null
    left join triggers.kv_trigger_details k on k.trigger_id = t.id
    left join triggers.dead_letter_trigger_details d on d.trigger_id = t.id
    where t.enabled and t.kind in ('kv', 'dead_letter')
  ), wanted as materialized (
    -- By topic: what a trigger does not mean must not be looked at for each event. A thousand triggers are five hundred thousand pairs.
    select t.*, topic
    from enabled t
    cross join unnest(case t.kind when 'kv' then triggers.topics_of(t.collection_glob) else array['dead_letters'] end) as topic
    where topic in (select e.topic from event e)
  ), pair as (
    select e as event, t as trigger from event e join wanted t on t.topic = e.topic and t.project_id = e.project_id
    where not pg_visible_in_snapshot(e.xid, t.active_from)
    union all
    select e, t from event e join wanted t on t.topic = e.topic and t.project_id is null
    where not pg_visible_in_snapshot(e.xid, t.active_from)
  ), found as (
    select (p.event).number, p.trigger, (p.event).depth as depth, null::uuid as dead_letter_id, (p.event).row as event,
      case
        when (p.event).topic = 'sync_changes' then triggers.meant_write((p.event).row, (p.trigger).collection_glob, (p.trigger).ops)
        when (p.trigger).ops = '{}' or (p.event).op = any ((p.trigger).ops) then array[(p.event).topic, (p.event).op]
      end as meant
    from pair p
    where (p.trigger).kind = 'kv'
    union all
    select (p.event).number, p.trigger, l.depth + 1, l.id, null::feed.events, null
    from pair p join triggers.dead_letters l on l.id = (p.event).entity_id::uuid
    where (p.trigger).kind = 'dead_letter'
      and l.resolved_at is null
      -- One beyond the limit may be told of; what its handlers set off, and they again, ends there.
      and l.depth <= p_max_depth
      and ((p.trigger).source_filter is null or (p.trigger).source_filter = l.source_kind)
      and ((p.trigger).trigger_id_filter is null or (p.trigger).trigger_id_filter = l.trigger_id)
      and ((p.trigger).script_id_filter is null or (p.trigger).script_id_filter = l.script_id)
      and triggers.may_read_letter(l, (p.trigger).registered_by_principal, (p.trigger).scopes)
  )
  select (f.trigger).id, null::jsonb, f.number, f.meant[1], f.meant[2], f.depth::int, f.dead_letter_id, null::text
  from found f
  where f.dead_letter_id is not null
    or (f.meant is not null and triggers.may_read(f.event, (f.trigger).registered_by_principal, (f.trigger).scopes))
  order by f.number, (f.trigger).id
$$;

-- What is visible now, to whoever writes: a snapshot never counts its own transaction as open, and what this one goes on to write
-- would be taken for read.
create function triggers.current_snapshot() returns pg_snapshot
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when o.own is null or o.own >= pg_snapshot_xmax(o.now) then o.now
    else concat(pg_snapshot_xmin(o.now), ':', pg_snapshot_xmax(o.now), ':', (
      select string_agg(x.xid::text, ',' order by x.xid)
      from (select pg_snapshot_xip(o.now) as xid union select o.own) x
    ))::pg_snapshot
  end
  from (select pg_current_snapshot() as now, pg_current_xact_id_if_assigned() as own) o
$$;

create function triggers.match_page(p_limit int, p_max_depth int, p_skip boolean default false)
returns table (outcome text, event_count int, matched_count int, has_buried boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_state triggers.state;
  v_topics text[];
  v_next pg_snapshot;
  v_events feed.events[];
  v_limit int;
  v_count int;
  v_matched int := 0;
  v_matches triggers.match[] := '{}';
begin
  -- What a crash forgets is what was written together with the place in the log: it is matched again. Who claims it waits for the disk.
  perform set_config('synchronous_commit', 'off', true);
  -- Not even a lock where nothing is registered. But the log must still reach back to here when something is, which is told of
  -- nothing from before.
  if not exists (select from triggers.triggers t where t.enabled and t.kind <> 'cron')
    and (select s.moved_at > clock_timestamp() - interval '1 minute' from triggers.state s) then
    return query select 'idle', 0, 0, false;
    return;
  end if;
  select * into v_state from triggers.state s for update skip locked;
  if not found then
    return query select 'busy', 0, 0, false;
    return;
  end if;
  v_next := coalesce(v_state.next, triggers.current_snapshot());
  -- After v_next: of what is registered from here on nothing in this window is told.
  select array_agg(distinct topic) into v_topics from (
    select unnest(triggers.topics_of(k.collection_glob)) as topic
    from triggers.triggers t join triggers.kv_trigger_details k on k.trigger_id = t.id where t.enabled and t.kind = 'kv'
    union all
    select 'dead_letters' from triggers.triggers t where t.enabled and t.kind = 'dead_letter'
  ) topics;
  if v_topics is null then
    update triggers.state set prev = v_next, next = null, position = null, moved_at = clock_timestamp();
    return query select 'idle', 0, 0, false;
    return;
  end if;
  -- The more triggers there are, the fewer events at a time: their product is what is written at once.
  v_limit := greatest(1, least(p_limit, 20000 / greatest(1, (select count(*) from triggers.triggers t where t.enabled and t.kind <> 'cron'))));
  v_events := array(select e from triggers.read_events(v_state.prev, v_next, v_state.position, v_topics, v_limit) e);
  v_count := cardinality(v_events);
  -- After reading: what retention drops meanwhile counts.
  if not feed.is_retained(v_state.prev) then
    update triggers.state set prev = triggers.current_snapshot(), next = null, position = null, moved_at = clock_timestamp();
    return query select 'gap', 0, 0, false;
    return;
  end if;
  if v_count > 0 and not p_skip then
    v_matches := array(select m from triggers.find_matches(v_events, p_max_depth) m);
    v_matched := triggers.enqueue(v_matches, v_events, p_max_depth, false);
  end if;
  if v_count = v_limit then
    update triggers.state set next = v_next, position = v_events[v_count].position, moved_at = clock_timestamp();
  elsif v_count > 0 or v_state.next is not null or v_state.moved_at < clock_timestamp() - interval '1 second' then
    update triggers.state set prev = v_next, next = null, position = null, moved_at = clock_timestamp();
  end if;
  return query select case when v_count = v_limit or v_state.next is not null then 'more' else 'done' end, v_count, v_matched,
    exists (select from unnest(v_matches) m where m.depth >= p_max_depth);
end
$$;
comment on function triggers.match_page is
  'Matches one page of the log: writes what matches and moves on. busy: another one is at it; idle: no trigger is enabled; gap: the log '
  'was dropped up to here before it was matched, and is gone on with from now; more; done. With p_skip the page is passed over.';

-- ---- by the clock ----------------------------------------------------------------------------------------------------

create function triggers.due_crons(p_limit int)
returns table (
  trigger_id uuid, expression text, timezone text, catch_up text, next_due_at timestamptz, now timestamptz, next_in_ms double precision
)
language sql
set search_path = pg_catalog, pg_temp
as $$
  with enabled as (
    select c.trigger_id, c.expression, c.timezone, c.catch_up, c.next_due_at
    from triggers.cron_trigger_details c
    join triggers.triggers t on t.id = c.trigger_id and t.enabled
    join auth.principals p on p.id = t.registered_by_principal and p.disabled_at is null
  ), due as (
    select * from enabled e where e.next_due_at is null or e.next_due_at <= clock_timestamp() order by e.next_due_at nulls first limit p_limit
  )
  select d.trigger_id, d.expression, d.timezone, d.catch_up, d.next_due_at, clock_timestamp(), 0 from due d
  union all
  -- When the next one is, for whoever waits for it.
  select null, null, null, null, null, clock_timestamp(), extract(epoch from min(e.next_due_at) - clock_timestamp()) * 1000
  from enabled e where e.next_due_at > clock_timestamp() and e.next_due_at < 'infinity'
$$;
comment on function triggers.due_crons is 'The triggers that are due by the clock, and in a last row in how many ms the next one is.';

create function triggers.fire_cron(
  p_trigger_id uuid, p_expression text, p_timezone text, p_due_at timestamptz, p_next_due_at timestamptz, p_events jsonb
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Whoever comes second finds another time, and fires nothing.
  update triggers.cron_trigger_details c set next_due_at = p_next_due_at
  where c.trigger_id = p_trigger_id and c.next_due_at is not distinct from p_due_at and c.expression = p_expression and c.timezone = p_timezone;
  if not found then
    return false;
  end if;
  -- However deep: nobody's change set it off.
  perform triggers.enqueue(array(
    select row(p_trigger_id, e.event, null, null, null, 0, null, null)::triggers.match
    from jsonb_array_elements(p_events) with ordinality as e (event, place) order by e.place
  ), null, 1, false);
  return true;
end
$$;
comment on function triggers.fire_cron is 'Moves a trigger from one due time to the next and enqueues what was due, if it is still due as the caller saw it.';
