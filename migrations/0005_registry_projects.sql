-- Why: what can be done with projects, as functions that psql users and the gateway share.
-- Locks: nothing but the new functions.

-- ---- references ------------------------------------------------------------------------------------------------------

-- A reference is {"id"}, {"slug"} or {"remote"}: how people and programs name a project.
create function registry.find_project(p_ref jsonb) returns uuid
language plpgsql stable
set search_path = ''
as $$
begin
  if p_ref ? 'id' then
    return (select id from registry.projects where id = (p_ref ->> 'id')::uuid);
  elsif p_ref ? 'slug' then
    return (select id from registry.projects where slug = p_ref ->> 'slug');
  elsif p_ref ? 'remote' then
    return (select id from registry.projects where remote_key = registry.normalize_remote(p_ref ->> 'remote'));
  end if;
  perform registry.refuse('INVALID', 'A project is named by one of id, slug and remote.');
end
$$;
comment on function registry.find_project is 'The id of the project that a reference names; null when there is none.';

create function registry.resolve_project(p_ref jsonb) returns uuid
language plpgsql stable
set search_path = ''
as $$
declare
  v_id uuid := registry.find_project(p_ref);
begin
  if v_id is null then
    perform registry.refuse('NOT_FOUND', format('No project has %s %L.',
      (select key from jsonb_each(p_ref) limit 1),
      registry.strip_credentials((select left(value, 200) from jsonb_each_text(p_ref) limit 1))));
  end if;
  return v_id;
end
$$;
comment on function registry.resolve_project is 'As find_project, but an unknown project is an error (P0002).';

create function registry.lock_project(p_project_id uuid) returns registry.projects
language plpgsql
set search_path = ''
as $$
declare
  v_project registry.projects;
begin
  select * into v_project from registry.projects where id = p_project_id for no key update;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No project has the id %s.', coalesce(p_project_id::text, 'null')));
  end if;
  return v_project;
end
$$;

-- ---- rules -----------------------------------------------------------------------------------------------------------

-- Top-level keys are merged; a key that comes as null is removed.
create function registry.merge_metadata(p_old jsonb, p_new jsonb) returns jsonb
language plpgsql immutable
set search_path = ''
as $$
begin
  if p_new is null or p_new = 'null' then
    return p_old;
  elsif jsonb_typeof(p_new) <> 'object' then
    perform registry.refuse('INVALID', format('Expected metadata as a JSON object, got a JSON %s.', jsonb_typeof(p_new)));
  end if;
  return coalesce((
    select jsonb_object_agg(key, value) from jsonb_each(p_old || p_new) where value <> 'null'
  ), '{}');
end
$$;

create function registry.require_owner(p_project registry.projects) returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_owned boolean := p_project.owner_id is not null or exists (
    select from auth.project_members m where m.project_id = p_project.id and m.role = 'owner'
  );
begin
  -- An administrator who could make itself a member of any project could read its chat, which is private from it too.
  if not auth.is_request() or (not v_owned and auth.is_admin()) or p_project.owner_id = auth.current_principal_id() or exists (
    select from auth.project_members m
    where m.project_id = p_project.id and m.principal_id = auth.current_principal_id() and m.role = 'owner'
  ) then
    return;
  end if;
  perform registry.refuse('FORBIDDEN', case
    when v_owned then 'Only an owner of the project may do this.'
    else 'This project has no owner, so this needs the scope admin.'
  end);
end
$$;
comment on function registry.require_owner is 'Owner means owner_id or a member of role owner; an ownerless project needs admin.';

create function registry.free_slug(p_wanted text) returns text
language plpgsql
set search_path = ''
as $$
declare
  v_slug text := p_wanted;
  v_number int := 1;
begin
  -- Two projects of one name must not both find the same slug free.
  perform pg_advisory_xact_lock(hashtextextended('registry.slug:' || p_wanted, 0));
  while exists (select from registry.projects where slug = v_slug) loop
    v_number := v_number + 1;
    v_slug := p_wanted || '-' || v_number;
  end loop;
  return v_slug;
end
$$;

create function registry.set_project_parents(p_project_id uuid, p_parents uuid[]) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_unknown uuid;
begin
  select parent into v_unknown from unnest(p_parents) parent
  where not exists (select from registry.projects where id = parent) limit 1;
  if found then
    perform registry.refuse('NOT_FOUND', format('No project has the id %s, which was given as a parent.', coalesce(v_unknown::text, 'null')));
  elsif p_project_id = any (p_parents) then
    perform registry.refuse('CYCLE', 'A project cannot be its own parent.');
  end if;
  delete from registry.project_parents where project_id = p_project_id and parent_id <> all (p_parents);
  insert into registry.project_parents (project_id, parent_id)
  select p_project_id, parent from unnest(p_parents) parent
  on conflict do nothing;
end
$$;

create function registry.upsert_host(p_name text) returns uuid
language plpgsql
set search_path = ''
as $$
declare
  v_id uuid;
begin
  select id into v_id from registry.hosts where name = p_name;
  if not found then
    insert into registry.hosts (name, last_seen_at) values (p_name, now())
    on conflict (name) do update set name = excluded.name
    returning id into v_id;
  end if;
  return v_id;
end
$$;
comment on function registry.upsert_host is 'The id of the host of that name, which is made at first sight.';

-- ---- registering -----------------------------------------------------------------------------------------------------

create function registry.upsert_project(
  p_name text, p_remote_origin text, p_default_branch text, p_trunk_path text, p_metadata jsonb, p_description text,
  p_slug text, p_status text, p_kinds text[], p_managed_by text[], p_parents uuid[], p_host text,
  p_keep_name boolean default false
) returns table (id uuid, created boolean)
language plpgsql security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_key text := registry.normalize_remote(nullif(btrim(p_remote_origin), ''));
  v_host uuid;
  v_project registry.projects;
  v_after registry.projects;
begin
  if btrim(coalesce(p_name, '')) = '' then
    perform registry.refuse('INVALID', 'Expected a name for the project, got nothing.');
  end if;
  if p_trunk_path is not null then
    v_host := registry.upsert_host(coalesce(p_host, 'local'));
  end if;
  -- Everybody who registers the same thing at once waits here for the first, and then finds what it made.
  perform pg_advisory_xact_lock(hashtextextended(
    'registry.project:' || coalesce(v_key, p_slug, v_host || ':' || p_trunk_path, p_name), 0));

  if v_key is not null then
    select * into v_project from registry.projects p where p.remote_key = v_key for no key update;
  elsif p_slug is not null then
    select * into v_project from registry.projects p where p.slug = p_slug and p.remote_key is null for no key update;
  elsif v_host is not null then
    select p.* into v_project
    from registry.project_checkouts c join registry.projects p on p.id = c.project_id
    where c.host_id = v_host and c.trunk_path = p_trunk_path and p.remote_key is null
    order by p.created_at limit 1
    for no key update of p;
  end if;

  if v_project.id is null then
    -- A repository that was registered before it had a remote is still the same project.
    if v_key is not null and v_host is not null then
      select p.* into v_project
      from registry.project_checkouts c join registry.projects p on p.id = c.project_id
      where c.host_id = v_host and c.trunk_path = p_trunk_path and p.remote_key is null
      order by p.created_at limit 1
      for no key update of p;
    end if;
  end if;

  if v_project.id is null then
    insert into registry.projects as p (
      slug, name, remote_origin, default_branch, trunk_path, metadata, description, status, kinds, managed_by, owner_id
    ) values (
      coalesce(p_slug, registry.free_slug(registry.slugify(p_name))), btrim(p_name), p_remote_origin,
      coalesce(p_default_branch, 'main'), p_trunk_path, registry.merge_metadata('{}', p_metadata), p_description,
      coalesce(p_status, 'active'), coalesce(p_kinds, '{project}'), coalesce(p_managed_by, '{}'),
      auth.current_principal_id()
    ) returning * into v_after;
    created := true;
  else
    v_after := v_project;
    v_after.name := case when p_keep_name then v_project.name else btrim(p_name) end;
    v_after.remote_origin := coalesce(v_project.remote_origin, nullif(btrim(p_remote_origin), ''));
    v_after.default_branch := coalesce(p_default_branch, v_project.default_branch);
    v_after.trunk_path := coalesce(v_project.trunk_path, p_trunk_path);
    v_after.metadata := registry.merge_metadata(v_project.metadata, p_metadata);
    v_after.description := coalesce(p_description, v_project.description);
    v_after.slug := coalesce(p_slug, v_project.slug);
    v_after.status := coalesce(p_status, v_project.status);
    v_after.kinds := coalesce(p_kinds, v_project.kinds);
    v_after.managed_by := coalesce(p_managed_by, v_project.managed_by);
    if v_host is not null and p_host is null then
      v_after.trunk_path := p_trunk_path;
    end if;
    -- Registering what is known already must not write: scanners do it on every round.
    if v_project.deleted_at is not null or v_after is distinct from v_project then
      update registry.projects p set
        name = v_after.name, remote_origin = v_after.remote_origin, default_branch = v_after.default_branch,
        trunk_path = v_after.trunk_path, metadata = v_after.metadata, description = v_after.description,
        slug = v_after.slug, status = v_after.status, kinds = v_after.kinds, managed_by = v_after.managed_by,
        deleted_at = null
      where p.id = v_project.id;
    end if;
    created := false;
  end if;
  id := v_after.id;

  if v_host is not null then
    insert into registry.project_checkouts as c (project_id, host_id, trunk_path) values (v_after.id, v_host, p_trunk_path)
    on conflict (project_id, host_id) do update set trunk_path = excluded.trunk_path
    where c.trunk_path <> excluded.trunk_path;
  end if;
  if p_parents is not null then
    perform registry.set_project_parents(v_after.id, p_parents);
  end if;
  return next;
end
$$;
comment on function registry.upsert_project is 'register_project, answering also whether the project is new. p_keep_name: the name is only for a new one.';

create function registry.register_project(
  p_name text, p_remote_origin text, p_default_branch text default null, p_trunk_path text default null,
  p_metadata jsonb default null, p_description text default null, p_slug text default null, p_status text default null,
  p_kinds text[] default null, p_managed_by text[] default null, p_parents uuid[] default null, p_host text default null
) returns uuid
language sql volatile
set search_path = ''
as $$
  select id from registry.upsert_project(p_name, p_remote_origin, p_default_branch, p_trunk_path, p_metadata,
    p_description, p_slug, p_status, p_kinds, p_managed_by, p_parents, p_host)
$$;
comment on function registry.register_project is
  'Registers a project and returns its id. The same remote in any spelling is the same project: it is revived if it was '
  'deactivated, null keeps what is stored, metadata merges. Without a remote the slug, then the checkout on p_host decides.';

-- ---- reading ---------------------------------------------------------------------------------------------------------

create function registry.get_project_by_origin(p_remote_origin text) returns setof registry.projects
language plpgsql stable
set search_path = ''
as $$
begin
  return query select * from registry.projects where id = registry.resolve_project(jsonb_build_object('remote', p_remote_origin));
end
$$;
comment on function registry.get_project_by_origin is 'The project of a remote, in any of its spellings; unknown is an error.';

-- A page of results must not cost a look at every project, even when every project fits: at most so many candidates are
-- ranked, those first that the term begins, then those that contain it, then those that are close to it (typos). All three
-- are read off indexes; a sequential scan is ruled out because the planner cannot guess how many rows are close to a term.
--
-- The first statement loads pg_trgm into this session: until then its settings are unknown, and only a superuser may write
-- those into a function.
select public.show_limit();
create function registry.search_projects(p_query text, p_limit int default 20)
returns table (id uuid, slug text, name text, relevance real)
language plpgsql stable
set search_path = ''
set pg_trgm.word_similarity_threshold = 0.4
set enable_seqscan = off
as $$
declare
  v_text text := lower(btrim(p_query));
  v_pattern text := replace(replace(replace(v_text, '\', '\\'), '%', '\%'), '_', '\_') || '%';
begin
  if v_text = '' then
    return;
  end if;
  return query
  with candidate as materialized (
    (select p.id from registry.projects p where p.active and p.slug like v_pattern limit 200)
    union (select p.id from registry.projects p where p.active and lower(p.name) like v_pattern limit 200)
    union (select p.id from registry.projects p where p.active and p.search_text like '%' || v_pattern limit 400)
    union (select p.id from registry.projects p where p.active and p.search_text operator(public.%>) v_text limit 1000)
  )
  select p.id, p.slug, p.name, (
      greatest(
        public.word_similarity(v_text, lower(p.name)),
        public.word_similarity(v_text, p.slug),
        0.8 * public.word_similarity(v_text, lower(coalesce(p.remote_origin, ''))),
        0.6 * public.word_similarity(v_text, p.search_text)
      ) + case when v_text in (lower(p.name), p.slug) then 1 when p.slug like v_pattern then 0.5 else 0 end
    )::real as relevance
  from candidate join registry.projects p on p.id = candidate.id
  order by 4 desc, p.name, p.id
  limit least(greatest(p_limit, 1), 100);
end
$$;
comment on function registry.search_projects is
  'Active projects by name, slug, remote and description, best first; forgives typos.';

create function registry.get_project_working_path(p_project_id uuid, p_worktree text default null, p_host text default 'local')
returns text
language plpgsql stable
set search_path = ''
as $$
declare
  v_trunk text;
begin
  select coalesce(c.trunk_path, p.trunk_path) into v_trunk
  from registry.projects p
  left join registry.hosts h on h.name = p_host
  left join registry.project_checkouts c on c.project_id = p.id and c.host_id = h.id
  where p.id = p_project_id;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No project has the id %s.', coalesce(p_project_id::text, 'null')));
  end if;
  if p_worktree is null then
    return v_trunk;
  end if;
  return regexp_replace(regexp_replace(v_trunk, '/+$', ''), '/[^/]*$', '') || '/' || p_worktree;
end
$$;
comment on function registry.get_project_working_path is
  'Where a worktree of that name belongs on a host: beside the trunk; without a name, the trunk itself. Null while no '
  'trunk path is known.';

-- ---- changing --------------------------------------------------------------------------------------------------------

create function registry.update_project(p_project_id uuid, p_patch jsonb) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_old registry.projects := registry.lock_project(p_project_id);
  v_new registry.projects;
begin
  v_new := jsonb_populate_record(v_old, p_patch - array['id', 'metadata', 'owner_id', 'remote_key', 'active', 'created_at',
    'updated_at', 'deleted_at', 'search_text']);
  v_new.metadata := registry.merge_metadata(v_old.metadata, p_patch -> 'metadata');
  v_new.owner_id := v_old.owner_id;
  if p_patch ? 'owner_id' and (p_patch ->> 'owner_id')::uuid is distinct from v_old.owner_id then
    perform registry.require_owner(v_old);
    v_new.owner_id := (p_patch ->> 'owner_id')::uuid;
    if v_new.owner_id is not null and not exists (select from auth.principals where id = v_new.owner_id) then
      perform registry.refuse('NOT_FOUND', format('No principal has the id %s, which was given as the owner.', v_new.owner_id));
    end if;
  end if;
  if v_new is distinct from v_old then
    update registry.projects set
      slug = v_new.slug, name = v_new.name, description = v_new.description, kinds = v_new.kinds, status = v_new.status,
      remote_origin = v_new.remote_origin, default_branch = v_new.default_branch, trunk_path = v_new.trunk_path,
      url_id = v_new.url_id, owner_id = v_new.owner_id, managed_by = v_new.managed_by, metadata = v_new.metadata
    where id = p_project_id
    returning * into v_new;
  end if;
  return v_new;
end
$$;
comment on function registry.update_project is
  'Applies the columns that the patch names; null clears what may be null; metadata merges. A new owner needs an owner.';

create function registry.deactivate_project(p_project_id uuid) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  if v_project.deleted_at is null then
    update registry.projects set deleted_at = clock_timestamp() where id = p_project_id returning * into v_project;
  end if;
  perform registry.retire_worktree(id, null) from (
    select id from registry.worktrees where project_id = p_project_id and active order by id for no key update
  ) as w;
  return v_project;
end
$$;
comment on function registry.deactivate_project is 'Soft: the project and its worktrees become inactive; registering again revives it.';

create function registry.delete_project(p_project_id uuid, p_slug text) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  perform registry.require_owner(v_project);
  if p_slug is distinct from v_project.slug then
    perform registry.refuse('INVALID', format('Deleting is for good: repeat the slug %L to confirm, got %L.', v_project.slug, p_slug));
  end if;
  delete from registry.projects where id = p_project_id;
  return v_project;
end
$$;
comment on function registry.delete_project is 'For good, with worktrees, claims and activities. Needs an owner, and the slug repeated.';

create function registry.classify_project(p_project_id uuid, p_parents uuid[]) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  perform registry.set_project_parents(p_project_id, p_parents);
  if v_project.unclassified then
    update registry.projects set unclassified = false where id = p_project_id returning * into v_project;
  end if;
  return v_project;
end
$$;
comment on function registry.classify_project is 'Gives a project its parents; none makes it a classified root.';

create function registry.link_project(p_project_id uuid, p_ref_type text, p_ref_id text, p_rel text) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  insert into registry.project_links (project_id, ref_type, ref_id, rel) values (p_project_id, p_ref_type, p_ref_id, p_rel)
  on conflict do nothing;
  return v_project;
end
$$;
comment on function registry.link_project is 'Ties a project to something elsewhere; doing it again changes nothing.';

create function registry.unlink_project(p_project_id uuid, p_ref_type text, p_ref_id text, p_rel text) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  delete from registry.project_links l
  where (l.project_id, l.ref_type, l.ref_id, l.rel) = (p_project_id, p_ref_type, p_ref_id, p_rel);
  if not found then
    perform registry.refuse('NOT_FOUND', format('The project has no link %s %L %s.', p_ref_type, p_ref_id, p_rel));
  end if;
  return v_project;
end
$$;
comment on function registry.unlink_project is 'Takes a link away; an unknown one is an error.';

create function registry.set_project_member(p_project_id uuid, p_principal_id uuid, p_role text) returns registry.projects
language plpgsql security definer
set search_path = ''
as $$
declare
  v_project registry.projects := registry.lock_project(p_project_id);
begin
  perform registry.require_owner(v_project);
  if not exists (select from auth.principals where id = p_principal_id) then
    perform registry.refuse('NOT_FOUND', format('No principal has the id %s.', coalesce(p_principal_id::text, 'null')));
  end if;
  if p_role is null then
    delete from auth.project_members where project_id = p_project_id and principal_id = p_principal_id;
    if not found then
      perform registry.refuse('NOT_FOUND', 'That principal is not a member of the project.');
    end if;
  else
    insert into auth.project_members as m (project_id, principal_id, role) values (p_project_id, p_principal_id, p_role)
    on conflict (project_id, principal_id) do update set role = excluded.role where m.role <> excluded.role;
  end if;
  return v_project;
end
$$;
comment on function registry.set_project_member is 'Gives a principal a role in the project, or none (null). Needs an owner.';
