-- Why: how single fields travel, from here to there and back, and what both ways look up.
-- Locks: nothing but the new functions. At run time each side holds its own row and then takes the other's, always before it
-- compares, because what is compared may be about to change. So two writers of one project, one on each side, meet in a deadlock,
-- and PostgreSQL ends one of them: the gateway tries again, and so must whoever writes over there.

-- ---- telling ---------------------------------------------------------------------------------------------------------

create function mirror.tell(p_op text, p_project_id uuid, p_mai_id text, p_direction text, p_fields text[] default '{}') returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into feed.events (topic, op, entity_id, project_id, principal_id, changed, data, depth)
  values ('mirror', p_op, p_project_id::text, p_project_id, nullif(current_setting('app.current_user_id', true), '')::uuid, p_fields,
    jsonb_build_object('direction', p_direction, 'mai_id', p_mai_id),
    coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint);
  if current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
end
$$;

-- ---- looking things up -----------------------------------------------------------------------------------------------

-- Each is one look by a key, whatever the planner thought of a table that was small when a session began: healing and bulk loads
-- begin with empty ones. What writes is not told so, because it runs the triggers of others.

create function mirror.find_pair(p_mai_id text) returns mirror.pairs
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_pair mirror.pairs;
begin
  select m.* into v_pair from mirror.pairs m where m.mai_id = p_mai_id;
  return v_pair;
end
$$;

create function mirror.pair_of(p_project_id uuid) returns mirror.pairs
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_pair mirror.pairs;
begin
  select m.* into v_pair from mirror.pairs m where m.project_id = p_project_id;
  return v_pair;
end
$$;

create function mirror.lock_project(p_project_id uuid) returns registry.projects
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_project registry.projects;
begin
  select p.* into v_project from registry.projects p where p.id = p_project_id for no key update;
  return v_project;
end
$$;

create function mirror.lock_row(p_mai_id text) returns mirror.row
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_row mirror.row;
begin
  select r.id, r.name, r.goal, r.repo, r.path, r.memory_group, r.status, r.metadata into v_row
  from mai.projects r where r.id = p_mai_id for no key update;
  return v_row;
end
$$;

create function mirror.is_linked(p_project_id uuid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return exists (
    select from registry.project_links l join mirror.pairs m on m.project_id = l.project_id and m.mai_id = l.ref_id
    where l.project_id = p_project_id and l.ref_type = 'mai-project' and l.rel = 'derived-from'
  );
end
$$;

create function mirror.wanted_slug(p_mai_id text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_mai_id ~ '^[a-z0-9][a-z0-9._-]{0,79}$' then p_mai_id else registry.slugify(p_mai_id) end;
end
$$;
comment on function mirror.wanted_slug is 'The slug that a row would have: its id, where that is one with room for a suffix.';

-- Not registry.free_slug: it locks each slug, and a statement over there may bring more rows than there are locks. Whoever inserts
-- looks whether he was the first.
create function mirror.free_slug(p_wanted text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_slug text := p_wanted;
  v_number int := 1;
begin
  while exists (select from registry.projects p where p.slug = v_slug) loop
    v_number := v_number + 1;
    v_slug := p_wanted || '-' || v_number;
  end loop;
  return v_slug;
end
$$;

-- A repository is one project: the second row with a remote is another project, which remembers it. What is no remote is refused by
-- registry.normalize_remote; here it is only asked whether it is one.
create function mirror.free_remote(p_repo text, p_project_id uuid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_key text;
begin
  if p_repo is null or octet_length(p_repo) > 2000 then
    return null;
  end if;
  v_key := registry.normalize_remote(p_repo);
  return case when not exists (select from registry.projects p where p.remote_key = v_key and p.id <> p_project_id) then p_repo end;
exception
  when invalid_parameter_value then
    return null;
end
$$;

-- Both sides may have been filled before they were mirrored.
create function mirror.lock_waiting(p_mai_id text) returns registry.projects
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_project registry.projects;
begin
  select p.* into v_project from registry.projects p
  where p.slug = p_mai_id and mirror.is_mirrored(p) and not exists (select from mirror.pairs m where m.project_id = p.id)
  for no key update;
  return v_project;
end
$$;
comment on function mirror.lock_waiting is 'The mirrored project that would get this id, if it has none yet.';

-- ---- from here to there ----------------------------------------------------------------------------------------------

create function mirror.insert_row(p_project registry.projects, p_mai_id text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ours mirror.row := mirror.as_row(p_project);
begin
  insert into mai.projects (id, name, goal, repo, path, memory_group, status, metadata, created_at, updated_at)
  values (p_mai_id, v_ours.name, v_ours.goal, v_ours.repo, v_ours.path, v_ours.memory_group, v_ours.status, v_ours.metadata,
    p_project.created_at, clock_timestamp())
  on conflict (id) do nothing;
  return found;
end
$$;
comment on function mirror.insert_row is 'Writes a project as a row over there; false when there is one of that id.';

create function mirror.refuse_hidden(p_mai_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform registry.refuse('FORBIDDEN', format(
    'Row-level security hides %L of mai.projects from the mirror. Run: create policy projax_write on mai.projects to %I using (true) with check (true);',
    p_mai_id, current_user));
end
$$;

create function mirror.push(p_project_id uuid, p_fields text[], p_is_answer boolean default false) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects := mirror.lock_project(p_project_id);
  v_mai_id text := (mirror.pair_of(p_project_id)).mai_id;
  v_row mirror.row := mirror.lock_row(v_mai_id);
  v_ours mirror.row;
  v_fields text[];
  v_assignments text;
begin
  if v_row.id is null then
    if not mirror.insert_row(v_project, v_mai_id) then
      perform mirror.refuse_hidden(v_mai_id);
    end if;
    perform mirror.tell('update', p_project_id, v_mai_id, 'to_mai', p_fields);
    return true;
  end if;

  select array_agg(field) into v_fields from unnest(mirror.differences(v_project, v_row)) field where field = any (p_fields);
  if v_fields is null then
    return false;
  end if;
  v_ours := mirror.as_row(v_project);
  -- Only what changed is named: over there may be triggers on single columns.
  select string_agg(assignment, ', ') into v_assignments from (values
    ('name', 'name = $2'), ('description', 'goal = $3'), ('remote_origin', 'repo = $4'), ('trunk_path', 'path = $5'),
    ('memory_group', 'memory_group = $6'), ('status', 'status = $7'), ('metadata', 'metadata = $8')
  ) as part (field, assignment) where field = any (v_fields);
  execute format('update mai.projects set %s, updated_at = clock_timestamp() where id = $1
      returning id, name, goal, repo, path, memory_group, status, metadata', v_assignments)
    into v_row
    using v_mai_id, v_ours.name, v_ours.goal, v_ours.repo, v_ours.path, v_ours.memory_group, v_ours.status,
      v_ours.metadata || mirror.staying(v_row.metadata);
  if v_row.id is null then
    perform registry.refuse('CONFLICT', format('A trigger or a policy of mai.projects keeps the row %L as it is. Nothing was changed.', v_mai_id));
  end if;
  perform mirror.tell('update', p_project_id, v_mai_id, 'to_mai', v_fields);
  -- A trigger over there may have made something else of it, or put back what was there, which no other trigger would tell of. That
  -- is answered once: two that contradict each other would go on for ever.
  if not p_is_answer then
    v_fields := array(select field from unnest(mirror.differences(v_project, v_row)) field where field = any (v_fields));
    if v_fields <> '{}' then
      perform mirror.pull(v_mai_id, v_fields, true);
    end if;
  end if;
  return true;
end
$$;
comment on function mirror.push is 'Brings these fields of a mirrored project to its row; false when they say the same already.';

-- ---- from there to here ----------------------------------------------------------------------------------------------

-- Stable, as jsonb_build_object is: what says more of itself than its parts is not inlined.
create function mirror.keep_repo(p_metadata jsonb, p_repo text) returns jsonb
language sql stable parallel safe
as $$
  select case when p_repo is null then p_metadata - 'repo' else p_metadata || jsonb_build_object('repo', p_repo) end
$$;

create function mirror.keep_status(p_metadata jsonb, p_status text) returns jsonb
language sql stable parallel safe
as $$
  select case when mirror.is_known_status(p_status) or coalesce(btrim(p_status), '') = '' then p_metadata - 'mai_status'
    else p_metadata || jsonb_build_object('mai_status', p_status) end
$$;

create function mirror.keep_memory_group(p_metadata jsonb, p_memory_group text) returns jsonb
language sql stable parallel safe
as $$
  select case when coalesce(p_memory_group, '') = '' then p_metadata - 'memory_group'
    else p_metadata || jsonb_build_object('memory_group', p_memory_group) end
$$;

create function mirror.is_storable_name(p_name text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(btrim(p_name) <> '' and length(p_name) <= 200, false)
$$;

-- What cannot be stored here stays as it is here, and mirror.drift shows it.
create function mirror.with_fields(p_project registry.projects, p_row mirror.row, p_fields text[]) returns registry.projects
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new registry.projects := p_project;
  v_unlike text[] := array(select field from unnest(mirror.differences(p_project, p_row)) field where field = any (p_fields));
  v_repo text;
begin
  if 'name' = any (v_unlike) and mirror.is_storable_name(p_row.name) then
    v_new.name := p_row.name;
  end if;
  if 'description' = any (v_unlike) then
    v_new.description := nullif(p_row.goal, '');
  end if;
  if 'trunk_path' = any (v_unlike) then
    v_new.trunk_path := nullif(p_row.path, '');
  end if;
  if 'metadata' = any (v_unlike) and mirror.is_metadata(p_row.metadata) then
    v_new.metadata := mirror.travelling(p_row.metadata) || mirror.staying(v_new.metadata);
  end if;
  if 'remote_origin' = any (v_unlike) then
    v_repo := nullif(mirror.without_credentials(p_row.repo), '');
    v_new.remote_origin := mirror.free_remote(v_repo, v_new.id);
    v_new.metadata := mirror.keep_repo(v_new.metadata, case when v_new.remote_origin is null then v_repo end);
  elsif 'remote_origin' = any (p_fields) and v_new.remote_origin is not null then
    -- What was kept from before it had a remote would be found again when it has none.
    v_new.metadata := mirror.keep_repo(v_new.metadata, null);
  end if;
  if 'memory_group' = any (v_unlike) then
    v_new.metadata := mirror.keep_memory_group(v_new.metadata, p_row.memory_group);
  end if;
  if 'status' = any (p_fields) then
    v_new.metadata := mirror.keep_status(v_new.metadata, p_row.status);
    if 'status' = any (v_unlike) then
      v_new.status := mirror.status_here(p_row.status);
    end if;
  end if;
  return v_new;
end
$$;
comment on function mirror.with_fields is 'The project as it would be with these fields of the row.';

create type mirror.written as (wanted registry.projects, stored registry.projects);

create function mirror.write_project(p_old registry.projects, p_new registry.projects) returns mirror.written
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new registry.projects := p_new;
  v_stored registry.projects;
  v_constraint text;
begin
  loop
    begin
      update registry.projects p set name = v_new.name, description = v_new.description, remote_origin = v_new.remote_origin,
        trunk_path = v_new.trunk_path, status = v_new.status, metadata = v_new.metadata, deleted_at = v_new.deleted_at
      where p.id = p_old.id
      returning p.* into v_stored;
      return row(v_new, v_stored)::mirror.written;
    exception
      when unique_violation then
        get stacked diagnostics v_constraint = constraint_name;
        if v_constraint <> 'projects_remote_key_key' or v_new.remote_origin is null then
          raise;
        end if;
        -- Somebody took the remote since.
        v_new.metadata := mirror.keep_repo(v_new.metadata, v_new.remote_origin);
        v_new.remote_origin := null;
    end;
  end loop;
end
$$;
comment on function mirror.write_project is 'Stores what a row says of its project; answers what it was to be, and what it became: others have triggers.';

create function mirror.pull(p_mai_id text, p_fields text[], p_is_answer boolean default false) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row mirror.row := mirror.lock_row(p_mai_id);
  v_old registry.projects := mirror.lock_project((mirror.find_pair(p_mai_id)).project_id);
  v_new registry.projects;
  v_written mirror.written;
  v_fields text[];
begin
  if v_row.id is null or not mirror.is_mirrored(v_old) then
    return false;
  end if;
  v_new := mirror.with_fields(v_old, v_row, p_fields);
  if v_new is not distinct from v_old then
    return false;
  end if;
  v_written := mirror.write_project(v_old, v_new);
  v_fields := mirror.changed_here(v_old, v_written.wanted);
  -- A word that is unknown here is news too.
  if 'status' <> all (v_fields) and v_old.metadata ->> 'mai_status' is distinct from (v_written.wanted).metadata ->> 'mai_status' then
    v_fields := v_fields || '{status}'::text[];
  end if;
  if v_fields <> '{}' then
    perform mirror.tell('update', v_old.id, p_mai_id, 'from_mai', v_fields);
  end if;
  -- As in mirror.push.
  if not p_is_answer and (v_written.stored).id is not null then
    v_fields := mirror.changed_here(v_written.wanted, v_written.stored);
    if v_fields <> '{}' then
      perform mirror.push(v_old.id, v_fields, true);
    end if;
  end if;
  return true;
end
$$;
comment on function mirror.pull is 'Brings these fields of a row to its mirrored project; false when that changes nothing.';
