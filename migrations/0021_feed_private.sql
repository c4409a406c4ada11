-- Why: what is private to a user or a space is handed to those who follow that user or space, and to nobody else; so whoever
-- reads the log must learn whose an event is. And a restored database counts its transactions anew, where rows carry them.
-- Locks: the functions' rows in the catalogue, and auth.space_members briefly, for its trigger.

create or replace function feed.first_page(p_prev pg_snapshot, p_next pg_snapshot, p_topics text[], p_limit int)
returns table (events json, complete boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_open xid8[] := array(select pg_snapshot_xip(p_prev));
  v_from xid8 := pg_snapshot_xmax(p_prev);
begin
  return query
  with found as materialized (
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.user_id, e.space_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.xid = any (v_open) and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
    union all
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.user_id, e.space_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.xid >= v_from and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
  ), page as (
    select * from found order by found.position limit p_limit
  )
  select coalesce(json_agg(page order by page.position), '[]'), count(*) < p_limit from page;
end
$$;

create or replace function feed.further_page(p_prev pg_snapshot, p_next pg_snapshot, p_after bigint, p_topics text[], p_limit int)
returns table (events json, complete boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
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
    select e.position, e.topic, e.op, e.entity_id, e.project_id, e.principal_id, e.agent_id, e.user_id, e.space_id, e.changed, e.data, e.depth, e.at
    from feed.events e
    where e.position > p_after and (e.xid >= v_from or e.xid = any (v_open))
      and pg_visible_in_snapshot(e.xid, p_next) and (p_topics is null or e.topic = any (p_topics))
    order by e.position
    limit p_limit
  )
  select coalesce(json_agg(page order by page.position), '[]'), count(*) < p_limit from page;
end
$$;

-- Who comes into a space may see what he was never told of. Who leaves it loses what was opened before: see feed.on_rights.
create function feed.on_space_members() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into feed.events (topic, op, entity_id, principal_id, user_id, data, depth)
  select 'space_members', 'insert', n.principal_id, auth.current_principal_id(), n.principal_id, jsonb_build_object('space_id', n.space_id),
    coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint
  from new_rows n;
  if found and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_space_members_insert after insert on auth.space_members
  referencing new table as new_rows for each statement execute function feed.on_space_members();

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
      update feed.state s set identity = v_identity, dropped_xid = null, dropped_snapshot = null,
        -- Random, not counted: two copies of one database must not arrive at the same epoch.
        epoch = ('x' || left(replace(gen_random_uuid()::text, '-', ''), 12))::bit(48)::bigint;
    end if;
  end if;
  return query select s.epoch, s.cursor_key from feed.state s;
end
$$;

revoke execute on all functions in schema feed from public;
grant execute on function feed.read, feed.is_retained, feed.health to treeline_runtime;

update registry.metadata set value = '1.3.0' where key = 'schema_version';
