-- Why: registering scripts, triggers and routes, asking for a script to run, and what may be done with dead letters: by the
-- project's owner with the scope triggers:admin, for the whole registry by administrators.
-- Locks: nothing but the new objects.

-- ---- who may ---------------------------------------------------------------------------------------------------------

create function triggers.require_scope() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not auth.has_scope('triggers:admin') then
    perform registry.refuse('FORBIDDEN', 'This needs the scope triggers:admin.');
  end if;
end
$$;

-- Whom it will run as, and with which scopes.
create function triggers.get_registrant(out principal_id uuid, out scopes text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  select p.id, case when auth.is_request() or auth.current_scopes() <> '{}' then auth.current_scopes() else p.scopes end
  into principal_id, scopes
  from auth.principals p where p.id = auth.current_principal_id() and p.disabled_at is null;
  if not found then
    perform registry.refuse('INVALID', 'Scripts run as who registered them: say who, with app.current_user_id.');
  end if;
end
$$;

create function triggers.require_manager(p_project_id uuid) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects;
begin
  perform triggers.require_scope();
  if p_project_id is null then
    if not auth.is_admin() then
      perform registry.refuse('FORBIDDEN', 'Scripts, triggers and routes of the whole registry need the scope admin: name a project of yours.');
    end if;
    return;
  end if;
  select * into v_project from registry.projects p where p.id = p_project_id;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No project has the id %s.', p_project_id), '{"field": "project"}');
  end if;
  perform registry.require_owner(v_project);
end
$$;

-- As the policies say it, for functions that policies do not bind.
create function triggers.may_see(p_project_id uuid, p_registrant_id uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not auth.is_request() or p_registrant_id = auth.current_principal_id()
    or triggers.is_owner(p_project_id, auth.current_principal_id())
    or (auth.is_admin() and (p_project_id is null or triggers.is_ownerless(p_project_id)))
$$;

create function triggers.refuse_unknown(p_noun text, p_id uuid, p_field text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform registry.refuse('NOT_FOUND', format('You have no %s with the id %s.', p_noun, coalesce(p_id::text, 'null')),
    jsonb_build_object('field', p_field));
end
$$;

-- ---- scripts ---------------------------------------------------------------------------------------------------------

create function triggers.save_script(p_id uuid, p_script jsonb) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_who record := triggers.get_registrant();
  v_script triggers.scripts;
begin
  if p_id is null then
    perform triggers.require_manager((p_script ->> 'project_id')::uuid);
    insert into triggers.scripts (project_id, name, kind, document, variables, url, secret, headers, timeout_ms, created_by, scopes)
    values ((p_script ->> 'project_id')::uuid, p_script ->> 'name', p_script ->> 'kind', p_script ->> 'document',
      nullif(p_script -> 'variables', 'null'), p_script ->> 'url', p_script ->> 'secret', coalesce(nullif(p_script -> 'headers', 'null'), '{}'),
      (p_script ->> 'timeout_ms')::int, v_who.principal_id, v_who.scopes)
    returning id into p_id;
    return p_id;
  end if;
  v_script := triggers.lock_script(p_id, 'id');
  if v_script.created_by <> v_who.principal_id then
    perform registry.refuse('FORBIDDEN', 'A script runs as who saved it, so nobody else changes it: save one of your own.');
  end if;
  perform triggers.require_manager(v_script.project_id);
  if p_script ? 'project_id' and (p_script ->> 'project_id')::uuid is distinct from v_script.project_id then
    perform registry.refuse('INVALID', 'A script stays in its project: save another one there.', '{"field": "project"}');
  elsif p_script ->> 'kind' <> v_script.kind then
    perform registry.refuse('INVALID', format('This script is of kind %s, and stays so: save another one.', v_script.kind));
  end if;
  update triggers.scripts s set
    name = p_script ->> 'name',
    document = p_script ->> 'document',
    variables = nullif(p_script -> 'variables', 'null'),
    url = p_script ->> 'url',
    -- They cannot be read, so they need not be repeated.
    secret = coalesce(p_script ->> 'secret', s.secret),
    headers = coalesce(nullif(p_script -> 'headers', 'null'), s.headers),
    timeout_ms = (p_script ->> 'timeout_ms')::int,
    scopes = v_who.scopes,
    updated_at = clock_timestamp()
  where s.id = p_id;
  return p_id;
end
$$;
comment on function triggers.save_script is 'Makes a script ({"project_id"?, "name", "kind", "document", "variables", "url", "secret", "headers", "timeout_ms"}), or changes one''s own.';

create function triggers.lock_script(p_id uuid, p_field text) returns triggers.scripts
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_script triggers.scripts;
begin
  select * into v_script from triggers.scripts s where s.id = p_id and s.deleted_at is null for no key update;
  if not found or not triggers.may_see(v_script.project_id, v_script.created_by) then
    perform triggers.refuse_unknown('script', p_id, p_field);
  end if;
  return v_script;
end
$$;

create function triggers.delete_script(p_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_script triggers.scripts;
  v_users bigint;
begin
  perform triggers.require_scope();
  v_script := triggers.lock_script(p_id, 'id');
  v_users := (select count(*) from triggers.triggers t where t.script_id = p_id) + (select count(*) from triggers.routes r where r.script_id = p_id);
  if v_users > 0 then
    perform registry.refuse('IN_USE', format('%s triggers and routes run this script: delete them first.', v_users), jsonb_build_object('count', v_users));
  end if;
  -- Executions and dead letters go on telling of it; what it held that nobody may read goes now.
  update triggers.scripts s set deleted_at = clock_timestamp(), secret = null, headers = '{}' where s.id = p_id;
  return p_id;
end
$$;
comment on function triggers.delete_script is 'Deletes a script that no trigger and no route runs. What waits for it becomes dead letters.';

-- What a trigger or a route runs, it runs as who registered it: with somebody else's script, that person could do in this
-- one's name whatever they write into it later.
create function triggers.take_script(p_script_id uuid, p_project_id uuid, p_principal_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_script triggers.scripts := triggers.lock_script(p_script_id, 'script');
begin
  if v_script.created_by <> p_principal_id then
    perform registry.refuse('FORBIDDEN', 'It would run in your name what somebody else may change: take a script that you saved yourself.', '{"field": "script"}');
  elsif v_script.project_id is distinct from p_project_id then
    -- Whoever may see the one may then see the other, and what came of it.
    perform registry.refuse('INVALID', case
      when p_project_id is null then 'Expected a script of the whole registry, as this is: save it without a project.'
      else 'Expected a script of the same project: save it there.'
    end, '{"field": "script"}');
  end if;
end
$$;

-- ---- triggers --------------------------------------------------------------------------------------------------------

create function triggers.topics_of(p_glob text) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_glob = '*' then array['projects', 'worktrees', 'claims', 'activities', 'messages', 'snapshots', 'mirror', 'sync_changes']
    when p_glob like 'sync:%' then array['sync_changes']
    else array[p_glob]
  end
$$;

-- Which scope it takes to read what a topic tells of.
create function triggers.scope_of(p_topic text) returns text
language sql immutable
as $$
  select case
    when p_topic operator(pg_catalog.=) any ('{messages,snapshots}') then 'chat'
    when p_topic operator(pg_catalog.=) 'sync_changes' then 'sync'
    else 'registry:read'
  end
$$;

create function triggers.has_scope(p_scopes text[], p_scope text) returns boolean
language sql immutable
as $$
  select p_scope operator(pg_catalog.=) any (p_scopes)
    or ('admin' operator(pg_catalog.=) any (p_scopes) and p_scope operator(pg_catalog.<>) all ('{chat,sync}'))
$$;

-- One that registers another each time that it runs would go on for ever, at no depth.
create function triggers.require_nobody_set_off() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if triggers.current_depth() > 0 then
    perform registry.refuse('FORBIDDEN', 'A script registers nothing that runs by itself: register triggers and routes yourself, and disable them as you like.');
  end if;
end
$$;

-- What a change may set off is bounded, for everybody waits for it.
create function triggers.require_room(p_noun text, p_count bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_count >= 1000 then
    perform registry.refuse('INVALID', format('Expected at most 1,000 %s of a project, or of the whole registry: delete some first.', p_noun),
      '{"limit": 1000}');
  end if;
end
$$;

create function triggers.require_readable(p_glob text, p_project_id uuid, p_scopes text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_glob is null or p_glob = '*' then
    return;
  elsif not triggers.has_scope(p_scopes, triggers.scope_of((triggers.topics_of(p_glob))[1])) then
    perform registry.refuse('FORBIDDEN', format('It would never match: to read %s needs the scope %s, which your token does not have.',
      p_glob, triggers.scope_of((triggers.topics_of(p_glob))[1])), '{"field": "spec"}');
  elsif p_glob like 'sync:%' and p_project_id is not null then
    perform registry.refuse('INVALID', 'It would never match: what offline clients change belongs to no project. Leave the project out.', '{"field": "spec"}');
  end if;
end
$$;

create function triggers.write_details(p_trigger_id uuid, p_kind text, p_spec jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  case p_kind
    when 'kv' then
      insert into triggers.kv_trigger_details (trigger_id, collection_glob, ops)
      values (p_trigger_id, p_spec ->> 'collection_glob', array(
        select distinct jsonb_array_elements_text(coalesce(nullif(p_spec -> 'ops', 'null'), '[]')) order by 1
      ))
      on conflict (trigger_id) do update set collection_glob = excluded.collection_glob, ops = excluded.ops;
    when 'dead_letter' then
      insert into triggers.dead_letter_trigger_details (trigger_id, source_filter, trigger_id_filter, script_id_filter)
      values (p_trigger_id, p_spec ->> 'source_filter', (p_spec ->> 'trigger_id_filter')::uuid, (p_spec ->> 'script_id_filter')::uuid)
      on conflict (trigger_id) do update set source_filter = excluded.source_filter,
        trigger_id_filter = excluded.trigger_id_filter, script_id_filter = excluded.script_id_filter;
    else
      insert into triggers.cron_trigger_details (trigger_id, expression, timezone, next_due_at, catch_up)
      values (p_trigger_id, p_spec ->> 'expression', coalesce(p_spec ->> 'timezone', 'UTC'), (p_spec ->> 'next_due_at')::timestamptz,
        coalesce(p_spec ->> 'catch_up', 'skip'))
      on conflict (trigger_id) do update set expression = excluded.expression, timezone = excluded.timezone,
        next_due_at = excluded.next_due_at, catch_up = excluded.catch_up;
  end case;
end
$$;

create function triggers.create_trigger(p_trigger jsonb, p_spec jsonb) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_who record := triggers.get_registrant();
  v_project_id uuid := (p_trigger ->> 'project_id')::uuid;
  v_script_id uuid := (p_trigger ->> 'script_id')::uuid;
  v_kind text := p_spec ->> 'kind';
  v_id uuid;
begin
  perform triggers.require_manager(v_project_id);
  perform triggers.require_nobody_set_off();
  perform triggers.require_room('triggers', (select count(*) from triggers.triggers t where t.project_id is not distinct from v_project_id));
  perform triggers.take_script(v_script_id, v_project_id, v_who.principal_id);
  perform triggers.require_readable(p_spec ->> 'collection_glob', v_project_id, v_who.scopes);
  insert into triggers.triggers (project_id, script_id, kind, enabled, condition, dispatch_mode, retry_max_attempts, retry_backoff,
    retry_base_ms, registered_by_principal, scopes)
  values (v_project_id, v_script_id, v_kind, coalesce((p_trigger ->> 'enabled')::boolean, true), p_trigger ->> 'condition',
    coalesce(p_trigger ->> 'dispatch_mode', 'async'), coalesce((p_trigger ->> 'retry_max_attempts')::int, 3),
    coalesce(p_trigger ->> 'retry_backoff', 'exponential'), coalesce((p_trigger ->> 'retry_base_ms')::int, 1000),
    v_who.principal_id, v_who.scopes)
  returning id into v_id;
  perform triggers.write_details(v_id, v_kind, p_spec);
  return v_id;
end
$$;
comment on function triggers.create_trigger is
  'Registers a trigger ({"project_id"?, "script_id", "enabled"?, "condition"?, "retry_max_attempts"?, "retry_backoff"?, "retry_base_ms"?}) '
  'with what sets it off ({"kind", …the columns of its details}).';

create function triggers.lock_trigger(p_id uuid) returns triggers.triggers
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger triggers.triggers;
begin
  perform triggers.require_scope();
  select * into v_trigger from triggers.triggers t where t.id = p_id for no key update;
  if not found or not triggers.may_see(v_trigger.project_id, v_trigger.registered_by_principal) then
    perform triggers.refuse_unknown('trigger', p_id, 'id');
  end if;
  return v_trigger;
end
$$;

create function triggers.update_trigger(p_id uuid, p_patch jsonb, p_spec jsonb) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_who record := triggers.get_registrant();
  v_trigger triggers.triggers := triggers.lock_trigger(p_id);
begin
  -- Whoever could say when it runs could make it do in the registrant's name what that one never meant.
  if v_trigger.registered_by_principal <> v_who.principal_id
    and not (p_spec is null and p_patch = '{"enabled": false}') then
    perform registry.refuse('FORBIDDEN', 'A trigger runs as who registered it: others may disable or delete it, and register one of their own.');
  end if;
  if p_patch <> '{"enabled": false}' or p_spec is not null then
    perform triggers.require_manager(v_trigger.project_id);
    perform triggers.require_nobody_set_off();
  end if;
  if p_spec ->> 'kind' <> v_trigger.kind then
    perform registry.refuse('INVALID', format('This trigger is of kind %s, and stays so: register another one.', v_trigger.kind), '{"field": "spec"}');
  end if;
  perform triggers.require_readable(p_spec ->> 'collection_glob', v_trigger.project_id, v_who.scopes);
  update triggers.triggers t set
    enabled = coalesce((p_patch ->> 'enabled')::boolean, t.enabled),
    condition = case when p_patch ? 'condition' then p_patch ->> 'condition' else t.condition end,
    retry_max_attempts = coalesce((p_patch ->> 'retry_max_attempts')::int, t.retry_max_attempts),
    retry_backoff = coalesce(p_patch ->> 'retry_backoff', t.retry_backoff),
    retry_base_ms = coalesce((p_patch ->> 'retry_base_ms')::int, t.retry_base_ms),
    scopes = case when t.registered_by_principal = v_who.principal_id then v_who.scopes else t.scopes end,
    active_from = case when p_spec is null then t.active_from else pg_current_snapshot() end
  where t.id = p_id;
  if p_spec is not null then
    perform triggers.write_details(p_id, v_trigger.kind, p_spec);
  end if;
  return p_id;
end
$$;
comment on function triggers.update_trigger is 'Changes what the patch names, and the spec as a whole where one is given; both as in create_trigger.';

create function triggers.delete_trigger(p_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger triggers.triggers := triggers.lock_trigger(p_id);
begin
  delete from triggers.triggers t where t.id = p_id;
  -- Not what is being run just now; and what somebody replays is wanted.
  delete from triggers.outbox o where o.trigger_id = p_id and o.claimed_by is null and o.source_kind <> 'replay';
  return p_id;
end
$$;
comment on function triggers.delete_trigger is 'Deletes a trigger, and what it set off that waits.';

-- ---- routes ----------------------------------------------------------------------------------------------------------

create function triggers.lock_route(p_id uuid) returns triggers.routes
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_route triggers.routes;
begin
  perform triggers.require_scope();
  select * into v_route from triggers.routes r where r.id = p_id for no key update;
  if not found or not triggers.may_see(v_route.project_id, v_route.registered_by_principal) then
    perform triggers.refuse_unknown('route', p_id, 'id');
  end if;
  return v_route;
end
$$;

create function triggers.save_route(p_id uuid, p_route jsonb) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_who record := triggers.get_registrant();
  v_project_id uuid := (p_route ->> 'project_id')::uuid;
  v_script_id uuid := (p_route ->> 'script_id')::uuid;
  v_route triggers.routes;
begin
  if p_id is not null then
    v_route := triggers.lock_route(p_id);
    if v_route.registered_by_principal <> v_who.principal_id then
      perform registry.refuse('FORBIDDEN', 'A route runs as who registered it: others may delete it, and save one of their own.');
    elsif p_route ? 'project_id' and v_project_id is distinct from v_route.project_id then
      perform registry.refuse('INVALID', 'A route stays in its project: save another one there.', '{"field": "project"}');
    end if;
    v_project_id := v_route.project_id;
  end if;
  perform triggers.require_manager(v_project_id);
  perform triggers.require_nobody_set_off();
  perform triggers.take_script(v_script_id, v_project_id, v_who.principal_id);
  if p_id is null then
    perform triggers.require_room('routes', (select count(*) from triggers.routes r where r.project_id is not distinct from v_project_id));
    insert into triggers.routes (project_id, method, path, script_id, dispatch_mode, secret, signature, registered_by_principal, scopes,
      retry_max_attempts, retry_backoff, retry_base_ms)
    values (v_project_id, p_route ->> 'method', p_route ->> 'path', v_script_id, p_route ->> 'dispatch_mode', p_route ->> 'secret',
      p_route ->> 'signature', v_who.principal_id, v_who.scopes, coalesce((p_route ->> 'retry_max_attempts')::int, 3),
      coalesce(p_route ->> 'retry_backoff', 'exponential'), coalesce((p_route ->> 'retry_base_ms')::int, 1000))
    returning id into p_id;
    return p_id;
  end if;
  update triggers.routes r set
    method = p_route ->> 'method',
    path = p_route ->> 'path',
    script_id = v_script_id,
    dispatch_mode = p_route ->> 'dispatch_mode',
    signature = p_route ->> 'signature',
    secret = case
      when p_route ->> 'signature' = 'none' then null
      -- What was made for one scheme is of no use to another.
      when p_route ->> 'signature' = r.signature then coalesce(p_route ->> 'secret', r.secret)
      else p_route ->> 'secret'
    end,
    scopes = v_who.scopes,
    updated_at = clock_timestamp()
  where r.id = p_id;
  return p_id;
end
$$;
comment on function triggers.save_route is
  'Makes a route ({"project_id"?, "method", "path", "script_id", "dispatch_mode", "signature", "secret"}), or changes one''s own.';

create function triggers.delete_route(p_id uuid) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_route triggers.routes := triggers.lock_route(p_id);
begin
  delete from triggers.routes r where r.id = p_id;
  delete from triggers.outbox o where o.trigger_id = p_id and o.claimed_by is null and o.source_kind = 'http' and o.reply_to is null;
  return p_id;
end
$$;
comment on function triggers.delete_route is 'Deletes a route, and what it accepted that waits. Who waits for a reply still gets it.';

-- ---- dead letters ----------------------------------------------------------------------------------------------------

create function triggers.is_meant(p_letter triggers.dead_letters, p_filter jsonb, p_runnable boolean) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- What can never be replayed would be found again by each call, before what can.
  select (not p_runnable or exists (select from triggers.scripts s where s.id = p_letter.script_id and s.deleted_at is null))
    and (p_filter -> 'source' is null or p_letter.source_kind in (select jsonb_array_elements_text(p_filter -> 'source')))
    and (p_filter ->> 'trigger_id' is null or p_letter.trigger_id = (p_filter ->> 'trigger_id')::uuid)
    and (p_filter ->> 'script_id' is null or p_letter.script_id = (p_filter ->> 'script_id')::uuid)
    and (p_filter ->> 'project_id' is null or p_letter.project_id = (p_filter ->> 'project_id')::uuid)
    and (p_filter ->> 'since' is null or p_letter.created_at >= (p_filter ->> 'since')::timestamptz)
$$;

-- The oldest that a filter means and whoever asks may see: put together of what is one's own, of one's projects, and of nobody's, each along
-- its index, because one that passes over what others have reads it all.
create function triggers.find_dead_letters(p_filter jsonb, p_limit int, p_runnable boolean) returns uuid[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_me uuid := auth.current_principal_id();
  v_admin boolean := auth.is_admin();
begin
  if not auth.is_request() then
    return array(
      select d.id from triggers.dead_letters d
      where d.resolved_at is null and triggers.is_meant(d, p_filter, p_runnable) order by d.created_at, d.id limit p_limit
    );
  elsif coalesce(p_filter ->> 'trigger_id', p_filter ->> 'script_id', p_filter ->> 'project_id') is not null then
    return array(
      select d.id from triggers.dead_letters d
      where d.resolved_at is null
        and (p_filter ->> 'trigger_id' is null or d.trigger_id = (p_filter ->> 'trigger_id')::uuid)
        and (p_filter ->> 'script_id' is null or d.script_id = (p_filter ->> 'script_id')::uuid)
        and (p_filter ->> 'project_id' is null or d.project_id = (p_filter ->> 'project_id')::uuid)
        and triggers.is_meant(d, p_filter, p_runnable) and triggers.may_see(d.project_id, d.principal_id)
      order by d.created_at, d.id limit p_limit
    );
  end if;
  return array(
    select found.id from (
      (select d.id, d.created_at from triggers.dead_letters d
        where d.resolved_at is null and d.principal_id = v_me and triggers.is_meant(d, p_filter, p_runnable)
        order by d.created_at, d.id limit p_limit)
      union
      select own.id, own.created_at from (
        select p.id from registry.projects p where p.owner_id = v_me
        union
        select m.project_id from auth.project_members m where m.principal_id = v_me and m.role = 'owner'
        union
        select p.id from registry.projects p where v_admin and p.owner_id is null and triggers.is_ownerless(p.id)
      ) project cross join lateral (
        select d.id, d.created_at from triggers.dead_letters d
        where d.resolved_at is null and d.project_id = project.id and triggers.is_meant(d, p_filter, p_runnable)
        order by d.created_at, d.id limit p_limit
      ) own
      union
      (select d.id, d.created_at from triggers.dead_letters d
        where v_admin and d.resolved_at is null and d.project_id is null and triggers.is_meant(d, p_filter, p_runnable)
        order by d.created_at, d.id limit p_limit)
    ) found
    order by found.created_at, found.id limit p_limit
  );
end
$$;

-- Whoever needs several locks them in this order, so that nobody waits for each other; who comes second finds out what became of them.
create function triggers.lock_dead_letters(p_ids uuid[]) returns setof triggers.dead_letters
language sql
set search_path = pg_catalog, pg_temp
as $$ select d.* from triggers.dead_letters d where d.id = any (p_ids) order by d.id for no key update $$;

create function triggers.resolve_dead_letters(p_ids uuid[], p_filter jsonb, p_limit int, p_resolution text)
returns table (resolved_ids uuid[], has_more boolean, refused jsonb)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_meant uuid[] := coalesce(p_ids, triggers.find_dead_letters(p_filter, p_limit, p_resolution = 'replayed'));
  v_ids uuid[];
  v_found uuid[];
  v_refused jsonb;
begin
  perform triggers.require_scope();
  select coalesce(array_agg(d.id), '{}'),
    coalesce(array_agg(d.id) filter (where d.resolved_at is null and (p_resolution = 'ignored' or s.id is not null)), '{}'),
    coalesce(jsonb_agg(jsonb_build_object('id', d.id, 'code', 'NOT_REPLAYABLE', 'message', case
      when d.resolved_at is not null then format('This dead letter was resolved at %s: %s.',
        to_char(d.resolved_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), d.resolution)
      else 'The script of this dead letter was deleted, so nothing can be run: ignore it.'
    end)) filter (where d.resolved_at is not null or (p_resolution = 'replayed' and s.id is null)), '[]')
  into v_found, v_ids, v_refused
  from triggers.lock_dead_letters(v_meant) d
  left join triggers.scripts s on s.id = d.script_id and s.deleted_at is null
  -- What a filter found and somebody else resolved meanwhile was not asked for.
  where triggers.may_see(d.project_id, d.principal_id) and (p_ids is not null or d.resolved_at is null);
  v_refused := v_refused || coalesce((
    select jsonb_agg(jsonb_build_object('id', g.id, 'code', 'NOT_FOUND', 'message', format('You have no dead letter with the id %s.', g.id)))
    from unnest(p_ids) as g (id) where g.id <> all (v_found)
  ), '[]');
  update triggers.dead_letters d set resolved_at = clock_timestamp(), resolution = p_resolution where d.id = any (v_ids);
  if p_resolution = 'replayed' and v_ids <> '{}' then
    insert into triggers.outbox (message_id, project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, lane,
      retry_max_attempts, retry_backoff, retry_base_ms, depth)
    select d.message_id, d.project_id, 'replay', d.trigger_id, d.script_id, d.principal_id, d.scopes, d.payload, s.kind,
      -- A script that replays what it handles goes deeper each time, and comes to an end.
      d.retry_max_attempts, d.retry_backoff, d.retry_base_ms, greatest(d.depth, triggers.current_depth())
    from triggers.dead_letters d join triggers.scripts s on s.id = d.script_id
    where d.id = any (v_ids) order by d.created_at, d.id;
    perform pg_notify('treeline_outbox', '');
  end if;
  return query select v_ids, p_ids is null and cardinality(v_meant) = p_limit, v_refused;
end
$$;
comment on function triggers.resolve_dead_letters is
  'Replays (replayed) or sets aside (ignored) dead letters by id, or the oldest unresolved ones of a filter. A letter is resolved once, '
  'however many ask at once; the others are refused, each by itself.';

-- ---- asking for a script ---------------------------------------------------------------------------------------------

create function triggers.current_depth() returns int
language sql stable
set search_path = pg_catalog, pg_temp
as $$ select coalesce(nullif(current_setting('feed.depth', true), ''), '0')::int $$;

create function triggers.await_reply(p_reply_to uuid, p_wait_ms int) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into triggers.replies (reply_to, wait_until) values (p_reply_to, clock_timestamp() + make_interval(secs => p_wait_ms / 1000.0))
$$;

create function triggers.invoke(p_script_id uuid, p_payload jsonb, p_reply_to uuid, p_wait_ms int, p_max_depth int) returns uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_script triggers.scripts;
  v_depth int := triggers.current_depth();
  v_id uuid;
begin
  perform triggers.require_scope();
  select * into v_script from triggers.scripts s where s.id = p_script_id and s.deleted_at is null;
  if not found or not triggers.may_see(v_script.project_id, v_script.created_by) then
    perform triggers.refuse_unknown('script', p_script_id, 'script');
  elsif exists (select from auth.principals p where p.id = v_script.created_by and p.disabled_at is not null) then
    perform registry.refuse('FORBIDDEN', 'The principal who saved this script is disabled, and it runs as nobody else: save one of your own.', '{"field": "script"}');
  elsif v_depth >= p_max_depth then
    perform registry.refuse('INVALID', format('%s scripts have set off one another already, which is as many as may: do they call themselves?', v_depth));
  end if;
  perform triggers.await_reply(p_reply_to, p_wait_ms);
  insert into triggers.outbox (project_id, source_kind, script_id, principal_id, scopes, payload, reply_to, lane, retry_max_attempts,
    retry_backoff, retry_base_ms, depth)
  values (v_script.project_id, 'invoke', p_script_id, v_script.created_by, v_script.scopes, p_payload, p_reply_to,
    -- Whoever waits for it may itself have a place of those that wait: it must find another one.
    case when v_depth = 0 then 'reply' else 'nested' end, 1, 'constant', 1000, v_depth)
  returning id into v_id;
  perform pg_notify('treeline_outbox', '');
  return v_id;
end
$$;
comment on function triggers.invoke is 'Asks for one run of a script as who saved it; its end is told under p_reply_to on treeline_replies.';

-- By whoever knows the path: the request proves itself by its signature, which is checked with what is answered here.
create function triggers.find_route(p_method text, p_path text)
returns table (id uuid, dispatch_mode text, signature text, secret text, timeout_ms int)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.id, r.dispatch_mode, r.signature, r.secret, s.timeout_ms
  from triggers.routes r
  join triggers.scripts s on s.id = r.script_id
  join auth.principals p on p.id = r.registered_by_principal and p.disabled_at is null
  where r.path = p_path and r.method = p_method
$$;
comment on function triggers.find_route is 'The route of a method and a path, unless its registrant is disabled.';

create function triggers.receive(
  p_route_id uuid, p_message_id text, p_payload jsonb, p_depth int, p_max_depth int, p_reply_to uuid default null, p_wait_ms int default null
)
returns table (outcome text, id uuid)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_route triggers.routes;
  v_kind text;
  v_id uuid;
begin
  -- Whoever deletes the route, or its project, waits and then sees what was accepted.
  select * into v_route from triggers.routes r where r.id = p_route_id for key share;
  select s.kind into v_kind from triggers.scripts s where s.id = v_route.script_id;
  if v_kind is null then
    return query select 'gone', null::uuid;
    return;
  end if;
  if p_message_id is not null then
    insert into triggers.received_messages (route_id, message_id, reply_to) values (p_route_id, p_message_id, p_reply_to) on conflict do nothing;
    if not found then
      return query select 'duplicate', null::uuid;
      return;
    end if;
  end if;
  if p_depth >= p_max_depth then
    -- A stranger may say whatever depth, and would fill the letters.
    if v_route.signature = 'none' then
      return query select 'too_deep', null::uuid;
      return;
    end if;
    perform triggers.bury(array[row(gen_random_uuid(), v_route.project_id, 'http', v_route.id, v_route.script_id,
      v_route.registered_by_principal, v_route.scopes, p_payload, 0, null, triggers.too_deep(p_depth), v_route.retry_max_attempts,
      v_route.retry_backoff, v_route.retry_base_ms, p_depth)::triggers.burial]);
    return query select 'too_deep', null::uuid;
    return;
  end if;
  if p_reply_to is not null then
    perform triggers.await_reply(p_reply_to, p_wait_ms);
  end if;
  insert into triggers.outbox (project_id, source_kind, trigger_id, script_id, principal_id, scopes, payload, reply_to, lane,
    retry_max_attempts, retry_backoff, retry_base_ms, depth)
  values (v_route.project_id, 'http', v_route.id, v_route.script_id, v_route.registered_by_principal, v_route.scopes, p_payload, p_reply_to,
    case when p_reply_to is null then v_kind when p_depth = 0 then 'reply' else 'nested' end, v_route.retry_max_attempts, v_route.retry_backoff, v_route.retry_base_ms, p_depth)
  returning outbox.id into v_id;
  perform pg_notify('treeline_outbox', '');
  return query select 'accepted', v_id;
end
$$;
comment on function triggers.receive is 'Accepts a request that proved itself: accepted, duplicate (its id came before), too_deep, or gone.';
