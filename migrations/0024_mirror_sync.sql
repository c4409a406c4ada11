-- Why: when a project begins and ceases to be mirrored, and the triggers of both sides: what is written on one is written on the
-- other in the same transaction.
-- Locks: nothing but the new functions; 0025 makes the triggers. At run time as in 0023.

-- ---- beginning -------------------------------------------------------------------------------------------------------

create function mirror.all_fields() returns text[]
language sql immutable parallel safe
as $$
  select '{name,description,remote_origin,trunk_path,memory_group,status,metadata}'::text[]
$$;

create function mirror.link(p_project_id uuid, p_mai_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into registry.project_links (project_id, ref_type, ref_id, rel) values (p_project_id, 'mai-project', p_mai_id, 'derived-from')
  on conflict do nothing;
end
$$;

create function mirror.unlink(p_project_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from registry.project_links l where l.project_id = p_project_id and l.ref_type = 'mai-project' and l.rel = 'derived-from';
end
$$;

create function mirror.empty_but(p_one mirror.row, p_other mirror.row) returns text[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return array_remove(array[
    case when coalesce(btrim(p_one.name), '') = '' and btrim(p_other.name) <> '' then 'name' end,
    case when coalesce(p_one.goal, '') = '' and p_other.goal <> '' then 'description' end,
    case when coalesce(p_one.repo, '') = '' and p_other.repo <> '' then 'remote_origin' end,
    case when coalesce(p_one.path, '') = '' and p_other.path <> '' then 'trunk_path' end,
    case when coalesce(p_one.memory_group, '') = '' and p_other.memory_group <> '' then 'memory_group' end
  ], null);
end
$$;
comment on function mirror.empty_but is 'The fields that one side leaves empty and the other does not.';

-- Where both sides say something, one of them wins; where only one does, there is nothing to win and nothing may be lost.
create function mirror.unite(p_project_id uuid, p_mai_id text, p_ours_win boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row mirror.row := mirror.lock_row(p_mai_id);
  v_project registry.projects := mirror.lock_project(p_project_id);
  v_ours mirror.row := mirror.as_row(v_project);
  v_metadata jsonb;
begin
  if mirror.is_metadata(v_row.metadata) then
    v_metadata := case when p_ours_win then mirror.travelling(v_row.metadata) || v_project.metadata
      else v_project.metadata || mirror.travelling(v_row.metadata) end;
    update registry.projects p set metadata = v_metadata where p.id = p_project_id and p.metadata <> v_metadata;
  end if;
  if p_ours_win then
    perform mirror.pull(p_mai_id, mirror.empty_but(v_ours, v_row));
    perform mirror.push(p_project_id, mirror.all_fields());
    -- Of a status that both sides agree on, the word that is known over there alone is kept.
    perform mirror.pull(p_mai_id, '{status}');
  else
    perform mirror.push(p_project_id, mirror.empty_but(v_row, v_ours) || '{metadata}'::text[]);
    perform mirror.pull(p_mai_id, mirror.all_fields());
  end if;
end
$$;

create function mirror.begin_pair(p_project_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects := mirror.lock_project(p_project_id);
  v_mai_id text;
  v_number int := 1;
begin
  -- Of a project that was deactivated: the id that it had. Locked, because a transaction that sees the past might see one that is gone.
  select m.mai_id into v_mai_id from mirror.pairs m where m.project_id = p_project_id for key share;
  if not found then
    v_mai_id := v_project.slug;
    loop
      insert into mirror.pairs (mai_id, project_id) values (v_mai_id, p_project_id) on conflict do nothing;
      exit when found;
      v_number := v_number + 1;
      v_mai_id := v_project.slug || '-' || v_number;
    end loop;
  end if;
  perform mirror.link(p_project_id, v_mai_id);
  perform mirror.tell('insert', p_project_id, v_mai_id, 'to_mai');
  if not mirror.insert_row(v_project, v_mai_id) then
    if (mirror.lock_row(v_mai_id)).id is null then
      perform mirror.refuse_hidden(v_mai_id);
    end if;
    perform mirror.unite(p_project_id, v_mai_id, true);
  end if;
end
$$;
comment on function mirror.begin_pair is 'A project begins to be mirrored: its row is made, or found and adopted, and linked.';

-- A name over there may be one that cannot be stored: then its id serves.
create function mirror.make_project(p_project_id uuid, p_row mirror.row) returns registry.projects
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new registry.projects;
  v_repo text := nullif(mirror.without_credentials(p_row.repo), '');
  v_wanted text := mirror.wanted_slug(p_row.id);
  v_slug text;
  v_remote text;
begin
  v_new.id := p_project_id;
  v_new.name := case
    when mirror.is_storable_name(p_row.name) then p_row.name
    else left(coalesce(nullif(btrim(p_row.name), ''), nullif(btrim(p_row.id), ''), v_wanted), 200)
  end;
  v_new.description := nullif(p_row.goal, '');
  v_new.status := mirror.status_here(p_row.status);
  v_new.trunk_path := nullif(p_row.path, '');
  v_new.metadata := case when mirror.is_metadata(p_row.metadata) then mirror.travelling(p_row.metadata) else '{}' end;
  v_new.metadata := mirror.keep_status(v_new.metadata, p_row.status);
  v_new.metadata := mirror.keep_memory_group(v_new.metadata, p_row.memory_group);
  loop
    v_slug := mirror.free_slug(v_wanted);
    v_remote := mirror.free_remote(v_repo, v_new.id);
    if v_slug = v_new.slug and v_remote is not distinct from v_new.remote_origin then
      raise integrity_constraint_violation using message = format('a rule of somebody''s refuses a project of the slug %L', v_slug);
    end if;
    v_new.slug := v_slug;
    v_new.remote_origin := v_remote;
    v_new.metadata := mirror.keep_repo(v_new.metadata, case when v_new.remote_origin is null then v_repo end);
    insert into registry.projects (id, slug, name, description, status, remote_origin, trunk_path, managed_by, unclassified, metadata)
    values (v_new.id, v_new.slug, v_new.name, v_new.description, v_new.status, v_new.remote_origin, v_new.trunk_path, '{mai}', true,
      v_new.metadata)
    on conflict do nothing;
    -- Or somebody took the slug or the remote since: then there is another to try.
    exit when found;
  end loop;
  return v_new;
end
$$;

create function mirror.revive_project(p_old registry.projects, p_row mirror.row) returns registry.projects
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new registry.projects;
begin
  v_new := mirror.with_fields(p_old, p_row, array(
    select field from unnest(mirror.all_fields()) field
    where field <> 'metadata' and field <> all (mirror.empty_but(p_row, mirror.as_row(p_old)))
  ));
  if mirror.is_metadata(p_row.metadata) then
    v_new.metadata := v_new.metadata || mirror.travelling(p_row.metadata);
  end if;
  v_new.deleted_at := null;
  return (mirror.write_project(p_old, v_new)).wanted;
end
$$;
comment on function mirror.revive_project is 'The same id came back over there: what it says holds, and where it is silent, what was known.';

create function mirror.joined(p_mai_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  update mirror.pairs m set joining = false where m.mai_id = p_mai_id;
end
$$;

create function mirror.bring_row(p_row mirror.row, p_project_id uuid, p_project registry.projects) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_intended registry.projects;
  v_project registry.projects;
  v_fields text[] := '{}';
begin
  if p_project.id is not null then
    update mirror.pairs m set joining = true where m.mai_id = p_row.id;
    v_intended := mirror.revive_project(p_project, p_row);
    -- What was known here and is not said over there.
    v_fields := mirror.empty_but(p_row, mirror.as_row(v_intended))
      || case when mirror.is_metadata(p_row.metadata) then '{metadata}'::text[] else '{}' end;
  else
    v_intended := mirror.make_project(p_project_id, p_row);
  end if;
  perform mirror.link(p_project_id, p_row.id);
  perform mirror.joined(p_row.id);
  perform mirror.tell('insert', p_project_id, p_row.id, 'from_mai');
  -- And what others' triggers made of it meanwhile.
  v_project := mirror.lock_project(p_project_id);
  v_fields := v_fields || mirror.changed_here(v_intended, v_project);
  if v_fields <> '{}' then
    perform mirror.push(p_project_id, v_fields);
  end if;
end
$$;
comment on function mirror.bring_row is 'Makes a project of a row, or revives the one that it was; their pair is there already.';

-- The project of a row that nobody follows yet: the one that it was until it was deactivated, one that waits for it, or a new one.
create function mirror.take_row(p_mai_id text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row mirror.row := mirror.lock_row(p_mai_id);
  v_project_id uuid;
  v_project registry.projects;
begin
  if v_row.id is null then
    return false;
  end if;
  loop
    v_project := null;
    v_project_id := (mirror.find_pair(p_mai_id)).project_id;
    if v_project_id is not null then
      v_project := mirror.lock_project(v_project_id);
      if mirror.is_mirrored(v_project) then
        if mirror.is_linked(v_project_id) and mirror.differences(v_project, v_row) = '{}' then
          return false;
        end if;
        perform mirror.link(v_project_id, p_mai_id);
        perform mirror.unite(v_project_id, p_mai_id, false);
        return true;
      end if;
      exit when 'mai' = any (v_project.managed_by);
      -- It belongs to nobody any more.
      v_project := null;
      perform mirror.unlink(v_project_id);
      delete from mirror.pairs m where m.mai_id = p_mai_id and m.project_id = v_project_id;
    end if;
    v_project := mirror.lock_waiting(p_mai_id);
    v_project_id := coalesce(v_project.id, gen_random_uuid());
    insert into mirror.pairs (mai_id, project_id, joining) values (p_mai_id, v_project_id, v_project.id is null) on conflict do nothing;
    exit when found;
  end loop;

  if mirror.is_mirrored(v_project) then
    perform mirror.link(v_project_id, p_mai_id);
    perform mirror.tell('insert', v_project_id, p_mai_id, 'from_mai');
    perform mirror.unite(v_project_id, p_mai_id, false);
    return true;
  end if;
  perform mirror.bring_row(v_row, v_project_id, v_project);
  return true;
end
$$;
comment on function mirror.take_row is 'Brings a row over: its project is made, revived or found; false when there is nothing to do.';

-- ---- ending ----------------------------------------------------------------------------------------------------------

create function mirror.end_pair(p_project_id uuid, p_is_kept boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_mai_id text := (mirror.pair_of(p_project_id)).mai_id;
  v_reference record;
  v_schema text;
  v_table text;
  v_constraint text;
begin
  perform mirror.unlink(p_project_id);
  if not p_is_kept then
    delete from mirror.pairs m where m.project_id = p_project_id;
  end if;
  delete from mai.projects r where r.id = v_mai_id;
  if not found then
    if (mirror.lock_row(v_mai_id)).id is not null then
      perform registry.refuse('CONFLICT', format('A trigger of mai.projects keeps the row %L. Nothing was changed.', v_mai_id));
    end if;
    return;
  end if;
  -- References that are looked at when the transaction ends would end it then, where nobody can say why.
  for v_reference in
    select format('%I.%I', n.nspname, c.conname) as name, c.condeferred
    from pg_constraint c join pg_namespace n on n.oid = c.connamespace
    where c.contype = 'f' and c.condeferrable and c.confrelid = 'mai.projects'::regclass
      and has_schema_privilege(n.oid, 'usage')
      -- By name is the only way, and others may have the same.
      and not exists (
        select from pg_constraint other where other.connamespace = c.connamespace and other.conname = c.conname and not other.condeferrable
      )
  loop
    execute format('set constraints %s immediate', v_reference.name);
    if v_reference.condeferred then
      execute format('set constraints %s deferred', v_reference.name);
    end if;
  end loop;
  perform mirror.tell('delete', p_project_id, v_mai_id, 'to_mai');
exception
  when foreign_key_violation or restrict_violation then
    get stacked diagnostics v_schema = schema_name, v_table = table_name, v_constraint = constraint_name;
    perform registry.refuse('IN_USE', format(
      'Rows of %I.%I still refer to %L of mai.projects (%s): move or delete them there, then try again. Nothing was changed.',
      v_schema, v_table, v_mai_id, v_constraint),
      jsonb_build_object('table', format('%I.%I', v_schema, v_table), 'constraint', v_constraint));
end
$$;
comment on function mirror.end_pair is
  'A project is no longer mirrored: its row goes, unless something over there refers to it. Kept: its id is remembered.';

-- ---- the triggers ----------------------------------------------------------------------------------------------------

create function mirror.refusal_code(p_detail text) returns text
language sql immutable parallel safe
as $$
  select (regexp_match(p_detail, '^([A-Z_]+)( \{.*\})?$'))[1]
$$;
comment on function mirror.refusal_code is 'The code of what registry.refuse raised; null for any other error.';

create function mirror.is_passing(p_sqlstate text) returns boolean
language sql immutable parallel safe
as $$
  select left(p_sqlstate, 2) in ('40', '53', '57', '58', 'XX') or p_sqlstate = '55P03'
$$;
comment on function mirror.is_passing is 'Whether an error is no rule of anybody''s but the state of the server, or of who else is at it: to be raised as it is.';

-- What the other side refused, in words that say which side it was.
create function mirror.explain(p_sqlstate text, p_message text, p_constraint text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_statement text;
begin
  if p_sqlstate in ('42501', '42P01', '42703', '3F000') then
    v_statement := (select problems.statement from mirror.problems() limit 1);
    perform registry.refuse('FORBIDDEN', format('The mirror cannot write mai.projects (%s). Nothing was changed.%s', p_message,
      ' Let an operator run: ' || v_statement), jsonb_strip_nulls(jsonb_build_object('statement', v_statement)));
  end if;
  perform registry.refuse('CONFLICT', format('mai.projects refused the change: %s. Nothing was changed.', p_message),
    jsonb_strip_nulls(jsonb_build_object('sqlstate', p_sqlstate, 'constraint', nullif(p_constraint, ''))));
end
$$;

create function mirror.sync_to_mai() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects;
  v_id uuid;
  v_detail text;
  v_constraint text;
begin
  if tg_op = 'INSERT' then
    for v_id in select n.id from new_rows n where mirror.is_mirrored(n) loop
      -- As it stands: triggers of others for each row were here before this one.
      if (mirror.pair_of(v_id)).joining is not true and mirror.is_mirrored(mirror.lock_project(v_id)) and not mirror.is_linked(v_id) then
        perform mirror.begin_pair(v_id);
      end if;
    end loop;
    return null;
  elsif tg_op = 'DELETE' then
    if mirror.is_mirrored(old) then
      perform mirror.end_pair(old.id, false);
    else
      delete from mirror.pairs m where m.project_id = old.id;
    end if;
    return null;
  end if;

  -- As it stands: another trigger of the same statement may have written it, and been here, since.
  v_project := mirror.lock_project(new.id);
  if v_project.id is null or (mirror.pair_of(new.id)).joining then
    return null;
  elsif not mirror.is_mirrored(v_project) then
    if mirror.is_mirrored(old) then
      perform mirror.end_pair(new.id, coalesce('mai' = any (v_project.managed_by), false));
    elsif not coalesce('mai' = any (v_project.managed_by), false) then
      delete from mirror.pairs m where m.project_id = new.id;
    end if;
  elsif not mirror.is_linked(new.id) then
    perform mirror.begin_pair(new.id);
  elsif mirror.changed_here(old, new) <> '{}' then
    perform mirror.push(new.id, mirror.changed_here(old, new));
  end if;
  return null;
exception
  when others then
    get stacked diagnostics v_detail = pg_exception_detail, v_constraint = constraint_name;
    -- What is a mistake of ours is not theirs: it shows as it is.
    if mirror.is_passing(sqlstate) or mirror.refusal_code(v_detail) is not null
       or (left(sqlstate, 2) in ('0A', '21', '42') and sqlstate not in ('42501', '42P01', '42703')) then
      raise;
    end if;
    perform mirror.explain(sqlstate, sqlerrm, v_constraint);
    return null;
end
$$;
comment on function mirror.sync_to_mai is 'Brings what changed of projects to mai.projects. The source of truth is here: what is refused there is refused here.';

create function mirror.rename_pair(p_old_id text, p_new_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project_id uuid;
begin
  -- Whoever writes the project looks for its row by the pair.
  perform from registry.projects p
  where p.id in (select m.project_id from mirror.pairs m where m.mai_id in (p_old_id, p_new_id)) order by p.id for no key update;
  -- Who had that id has lost it.
  delete from mirror.pairs m where m.mai_id = p_new_id returning m.project_id into v_project_id;
  perform mirror.unlink(v_project_id);
  update mirror.pairs m set mai_id = p_new_id where m.mai_id = p_old_id returning m.project_id into v_project_id;
  if found then
    update registry.project_links l set ref_id = p_new_id
    where l.project_id = v_project_id and l.ref_type = 'mai-project' and l.ref_id = p_old_id and l.rel = 'derived-from';
    perform mirror.tell('update', v_project_id, p_new_id, 'from_mai', '{mai_id}');
  end if;
end
$$;
comment on function mirror.rename_pair is 'A row got another id over there, and takes its link along.';

create function mirror.follow_row(p_op text, p_old mirror.row, p_new mirror.row) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects;
  v_fields text[];
begin
  if p_op = 'UPDATE' and p_new.id <> p_old.id then
    perform mirror.rename_pair(p_old.id, p_new.id);
  end if;
  if p_op <> 'DELETE' then
    v_project := mirror.lock_project((mirror.find_pair(p_new.id)).project_id);
    if not mirror.is_mirrored(v_project) then
      perform mirror.take_row(p_new.id);
    elsif p_op = 'INSERT' then
      -- Nearly always what we wrote ourselves.
      if mirror.differences(v_project, p_new) <> '{}' or not mirror.is_linked(v_project.id) then
        perform mirror.take_row(p_new.id);
      end if;
    else
      v_fields := mirror.changed_there(p_old, p_new);
      if v_fields <> '{}' then
        perform mirror.pull(p_new.id, v_fields);
      end if;
    end if;
    return;
  end if;
  v_project := mirror.lock_project((mirror.find_pair(p_old.id)).project_id);
  -- Unless a trigger over there brought it back at once: that was followed.
  if mirror.is_mirrored(v_project) and not exists (select from mai.projects r where r.id = p_old.id) then
    perform registry.deactivate_project(v_project.id);
    perform mirror.tell('delete', v_project.id, p_old.id, 'from_mai');
  end if;
end
$$;

create function mirror.warn(p_op text, p_mai_id text, p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise warning 'treeline could not follow % of mai.projects %: %; mirror.drift() shows it', lower(p_op), quote_literal(p_mai_id), p_message;
end
$$;

create function mirror.try_to_follow(p_op text, p_old mirror.row, p_new mirror.row) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_constraint text;
begin
  perform mirror.follow_row(p_op, p_old, p_new);
exception
  when unique_violation then
    get stacked diagnostics v_constraint = constraint_name;
    -- To a transaction that sees the past, a pair made since is none until it makes it again.
    if v_constraint in ('pairs_pkey', 'pairs_project_id_key') and current_setting('transaction_isolation') <> 'read committed' then
      raise exception using errcode = 'serialization_failure', message = sqlerrm;
    end if;
    perform mirror.warn(p_op, coalesce(p_new.id, p_old.id), sqlerrm);
  when others then
    if mirror.is_passing(sqlstate) then
      raise;
    end if;
    perform mirror.warn(p_op, coalesce(p_new.id, p_old.id), sqlerrm);
end
$$;

-- Whoever writes over there knows nothing of our rules, and must not fail by them.
create function mirror.sync_from_mai() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old mirror.row;
  v_new mirror.row;
  v_id text;
begin
  -- Whose hand it is, only sessions of the gateway are believed: anybody may set it.
  if not pg_has_role(session_user, 'treeline_runtime', 'member') then
    perform set_config('app.current_user_id', '', true);
  end if;
  if tg_op = 'TRUNCATE' then
    for v_id in select m.mai_id from mirror.pairs m order by m.mai_id loop
      v_old.id := v_id;
      perform mirror.try_to_follow('DELETE', v_old, null);
    end loop;
    return null;
  end if;
  if tg_op <> 'INSERT' then
    v_old := row(old.id, old.name, old.goal, old.repo, old.path, old.memory_group, old.status, old.metadata)::mirror.row;
  end if;
  if tg_op <> 'DELETE' then
    v_new := row(new.id, new.name, new.goal, new.repo, new.path, new.memory_group, new.status, new.metadata)::mirror.row;
  end if;
  if tg_op = 'UPDATE' and v_old.id = v_new.id and mirror.changed_there(v_old, v_new) = '{}' then
    return null;
  end if;
  perform mirror.try_to_follow(tg_op, v_old, v_new);
  return null;
end
$$;
comment on function mirror.sync_from_mai is 'Brings what changed of mai.projects to projects. What cannot be stored is left to mirror.drift.';
