-- Why: the log behind every subscription. Each committed change of what is watched is a row here, written in the change's
-- own transaction; NOTIFY only says that there is something to read.
-- Locks: nothing but the new objects. At run time retention locks one old day of the log at a time, and the log itself only
-- if it can have it at once.

create schema feed;
comment on schema feed is 'The durable log of changes: what subscriptions, replays and triggers read.';
grant usage on schema feed to treeline_runtime;

-- ---- the log ---------------------------------------------------------------------------------------------------------

-- Not an identity: those cannot be made on a partitioned table before PostgreSQL 17. Cache 1, or two sessions' positions
-- would not be in the order in which they were taken.
create sequence feed.event_position as bigint cache 1;

create table feed.events (
  position bigint not null default nextval('feed.event_position'),
  -- Whether a reader has seen it is decided by the transaction that wrote it; positions and times are taken before a commit
  -- and say nothing of the order of commits.
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp(),
  topic text not null,
  op text not null,
  entity_id text not null,
  project_id uuid,
  principal_id uuid,
  agent_id text,
  user_id uuid,
  space_id text,
  changed text[] not null default '{}',
  data jsonb not null default '{}',
  depth smallint not null default 0
) partition by range (at);
comment on table feed.events is 'What changed: one row per changed row, in the order in which their rows were locked.';
comment on column feed.events.position is 'Order within what becomes visible at once. One row''s events have it in the order of their commits.';
comment on column feed.events.changed is 'Columns that an update changed; empty for inserts and deletes.';
comment on column feed.events.data is 'The few facts that filters and triggers need, before and after; never the row.';
comment on column feed.events.user_id is 'Whose row it is, where rows are private.';
comment on column feed.events.depth is 'How many scripts stand between this change and one that somebody made.';

-- A missing partition must never fail a write.
create table feed.events_default partition of feed.events default;
create index idx_events_xid on feed.events (xid);
create index idx_events_position on feed.events (position);

-- ---- where the log stands --------------------------------------------------------------------------------------------

create table feed.state (
  singleton boolean primary key default true check (singleton),
  -- Which database this is: a copy or a restored one counts its transactions anew, or in its own way.
  identity text not null,
  epoch bigint not null,
  cursor_key bytea not null,
  -- The newest transaction of what retention dropped, and what was visible when it did.
  dropped_xid xid8,
  dropped_snapshot pg_snapshot,
  constraint state_dropped_check check ((dropped_xid is null) = (dropped_snapshot is null))
);
comment on table feed.state is 'One row: the epoch that cursors belong to, the key that proves them ours, what is no longer retained.';

-- The system identifier tells clusters apart; the database's oid, a copy within one; the time line, a cluster that was
-- promoted or went back in time, where transaction ids that somebody has seen may come again.
create function feed.identity() returns text
language sql volatile
set search_path = ''
as $$
  select concat_ws('/',
    (select system_identifier from pg_catalog.pg_control_system()),
    (select oid from pg_catalog.pg_database where datname = current_database()),
    left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))
$$;
comment on function feed.identity is 'Which database this is, also after a restore, a copy or a failover.';

insert into feed.state (identity, epoch, cursor_key) values (
  '', 0,
  -- Two random UUIDs hold 244 random bits.
  decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);

create function feed.open() returns table (epoch bigint, cursor_key bytea)
language plpgsql
set search_path = ''
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
      update feed.state s set identity = v_identity, dropped_xid = null, dropped_snapshot = null,
        -- Random, not counted: two copies of one database must not arrive at the same epoch.
        epoch = ('x' || left(replace(gen_random_uuid()::text, '-', ''), 12))::bit(48)::bigint;
    end if;
  end if;
  return query select s.epoch, s.cursor_key from feed.state s;
end
$$;
comment on function feed.open is
  'For a gateway that starts or reconnects: the epoch and the key of cursors. Begins a new epoch, with an empty log, in a '
  'database that was restored, copied or promoted since.';

-- ---- reading ---------------------------------------------------------------------------------------------------------

-- A page begins either where the snapshot ends or after a position. The two are functions of their own because each must
-- have its plan: the planner cannot know how few transactions there are after a snapshot, nor how many positions.

-- By transaction: costs what there is to read and nothing for what was read before.
create function feed.first_page(p_prev pg_snapshot, p_next pg_snapshot, p_topics text[], p_limit int)
returns table (events json, complete boolean)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  return query
  with found as materialized (
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.xid = any (v_open) and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
    union all
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.xid >= v_from and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
  ), page as (
    select * from found order by found.position limit p_limit
  )
  select coalesce(json_agg(page order by page.position), '[]'), count(*) < p_limit from page;
end
$$;

-- Along the positions: however many pages there are, together they are one pass.
create function feed.further_page(p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_topics text[], p_limit int)
returns table (events json, complete boolean)
language plpgsql stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  return query
  with page as (
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.position > p_after and (e.xid >= v_from or e.xid = any (v_open))
      and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
    order by e.position
    limit p_limit
  )
  select coalesce(json_agg(page order by page.position), '[]'), count(*) < p_limit from page;
end
$$;

create function feed.read(p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_topics text[], p_limit int)
returns table (next pg_snapshot, events json, complete boolean)
language plpgsql stable security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  -- Stable: the statement's own snapshot, which is also the one that the rows are read with.
  v_next pg_snapshot := coalesce(p_next, pg_current_snapshot());
begin
  if p_after is null then
    return query select v_next, p.events, p.complete from feed.first_page(p_prev, v_next, p_topics, p_limit) p;
  else
    return query select v_next, p.events, p.complete from feed.further_page(p_prev, v_next, p_after, p_topics, p_limit) p;
  end if;
end
$$;
comment on function feed.read is
  'The events that became visible between two snapshots (up to now where p_next is null), by position, after a position '
  'where one is given, as one page; complete: there are no more.';

-- A cursor is good if nothing that it has not seen was dropped. A transaction that was open when it was made and ended
-- before the drop may have written what was dropped.
create function feed.is_retained(p_prev pg_snapshot) returns boolean
language sql stable security definer
set search_path = ''
as $$
  select not exists (
    select from feed.state s
    where s.dropped_xid is not null and (
      pg_snapshot_xmax(p_prev) <= s.dropped_xid
      or exists (select from pg_snapshot_xip(p_prev) x where x <= s.dropped_xid and pg_visible_in_snapshot(x, s.dropped_snapshot))
    )
  ) and pg_snapshot_xmax(p_prev) <= pg_snapshot_xmax(pg_current_snapshot())
$$;
comment on function feed.is_retained is 'Whether everything after this snapshot is still in the log, and the snapshot is one of this log''s past.';

create function feed.health()
returns table (last_event_at timestamptz, oldest_writer_seconds double precision)
language sql stable security definer
set search_path = ''
as $$
  select (select e.at from feed.events e order by e.position desc limit 1),
    (select coalesce(extract(epoch from max(clock_timestamp() - a.xact_start)), 0)::double precision
      from pg_catalog.pg_stat_activity a where a.backend_xid is not null and a.datname = current_database())
$$;
comment on function feed.health is 'When the last event was written, and for how long the oldest open writing transaction has been at it.';

-- ---- retention -------------------------------------------------------------------------------------------------------

create function feed.ensure_partitions(p_days_ahead int default 3) returns int
language plpgsql security definer
set search_path = ''
as $$
declare
  v_day date;
  v_name text;
  v_made int := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('feed.partitions', 0));
  -- Attaching a day waits for those who write outside any; better to try again later than to let them queue up behind.
  perform set_config('lock_timeout', '1s', true);
  for v_day in
    select d::date from generate_series((now() at time zone 'UTC')::date, (now() at time zone 'UTC')::date + p_days_ahead, interval '1 day') d
  loop
    v_name := 'events_' || to_char(v_day, 'YYYYMMDD');
    if to_regclass('feed.' || v_name) is null then
      execute format('create table feed.%I (like feed.events including defaults including constraints)', v_name);
      -- Locked before it is looked at: what came in between would belong to both.
      lock table feed.events_default in access exclusive mode;
      -- What was written while this day had no partition moves in, with its positions and transactions.
      execute format(
        'with moved as (delete from feed.events_default where at >= %L and at < %L returning *)
         insert into feed.%I select * from moved',
        v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC', v_name);
      execute format('alter table feed.events attach partition feed.%I for values from (%L) to (%L)',
        v_name, v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC');
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end
$$;
comment on function feed.ensure_partitions is 'Makes the daily partitions from today on that are missing; returns how many.';

create function feed.drop_old(p_days int default 7) returns int
language plpgsql security definer
set search_path = ''
as $$
declare
  v_cutoff timestamptz := now() - make_interval(days => p_days);
  v_partition record;
  v_newest xid8;
  v_dropped int := 0;
begin
  if p_days is null or p_days < 1 then
    raise exception 'Expected a retention of at least 1 day, got %.', coalesce(p_days::text, 'null') using errcode = '22023';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('feed.partitions', 0));
  perform set_config('lock_timeout', '1s', true);
  -- Before the days: taking one of those away locks the log until the end.
  with gone as (delete from feed.events_default where at < v_cutoff returning xid)
  select xid into v_newest from gone order by xid desc limit 1;
  perform feed.note_dropped(v_newest);
  for v_partition in
    select c.oid::regclass as name, c.relname
    from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'feed.events'::regclass and c.relname ~ '^events_\d{8}$'
      and (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC' <= v_cutoff
    order by c.relname
  loop
    begin
      -- Waits for whoever still writes into that day, so that everything in it is committed or gone.
      execute format('lock table %s in access exclusive mode', v_partition.name);
      execute format('select xid from %s order by xid desc limit 1', v_partition.name) into v_newest;
      perform feed.note_dropped(v_newest);
      -- Emptied first: that needs no lock on the log. Taking the partition away does, and may wait for another day.
      execute format('truncate %s', v_partition.name);
    exception when lock_not_available then
      continue;
    end;
    v_dropped := v_dropped + 1;
    begin
      perform set_config('lock_timeout', '100ms', true);
      execute format('drop table %s', v_partition.name);
    exception when lock_not_available then
      null;
    end;
    perform set_config('lock_timeout', '1s', true);
  end loop;
  return v_dropped;
end
$$;
comment on function feed.drop_old is 'Drops the days of the log that are older than so many days; cursors from before get CURSOR_EXPIRED.';

create function feed.note_dropped(p_newest xid8) returns void
language sql
set search_path = ''
as $$
  update feed.state set dropped_xid = greatest(dropped_xid, p_newest), dropped_snapshot = pg_current_snapshot()
  where p_newest is not null
$$;

select feed.ensure_partitions();

revoke execute on all functions in schema feed from public;
grant execute on function feed.read, feed.is_retained, feed.health to treeline_runtime;
