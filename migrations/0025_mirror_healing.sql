-- Why: tables that were filled before the mirror was there, grants that an operator has still to give, and seeing that both sides
-- are equal.
-- Locks: mai.projects and registry.projects briefly, where the triggers are made. At run time a batch of reconciling locks what it
-- heals, as the triggers do, until it commits.

-- ---- what the mirror needs -------------------------------------------------------------------------------------------

create function mirror.column_problems(p_table oid) returns table (problem text, statement text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select format('mai.projects has no column %s of type %s.', wanted.name, wanted.types[1]),
    case when a.attname is null then format('alter table mai.projects add column %s %s;', wanted.name, wanted.types[1])
      else format('alter table mai.projects alter column %s type %s using %1$s::%2$s;', wanted.name, wanted.types[1]) end
  from (values
    ('id', '{text,varchar}'::regtype[]), ('name', '{text,varchar}'), ('goal', '{text,varchar}'), ('repo', '{text,varchar}'),
    ('path', '{text,varchar}'), ('memory_group', '{text,varchar}'), ('status', '{text,varchar}'), ('metadata', '{jsonb}'),
    ('created_at', '{timestamptz,timestamp}'), ('updated_at', '{timestamptz,timestamp}')
  ) as wanted (name, types)
  left join pg_attribute a on a.attrelid = p_table and a.attname = wanted.name and not a.attisdropped
  where a.attname is null or a.atttypid <> all (wanted.types);
  if not exists (
    select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = p_table and i.indisunique and i.indimmediate and i.indnkeyatts = 1 and i.indpred is null and a.attname = 'id'
  ) then
    return query select 'The id of mai.projects is not its key.', 'alter table mai.projects add primary key (id);';
  end if;
end
$$;

create function mirror.policy_problems(p_table oid) returns table (problem text, statement text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_policy record;
begin
  for v_policy in
    select p.polname, p.polpermissive, p.polcmd = '*'
        and pg_get_expr(p.polqual, p.polrelid) = 'true' and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true' as is_open
    from pg_policy p
    where p.polrelid = p_table and exists (select from unnest(p.polroles) role where role = 0 or pg_has_role(role, 'usage'))
  loop
    if not v_policy.polpermissive then
      problem := format('The restrictive policy %I may hide rows of mai.projects from the role %I.', v_policy.polname, current_user);
      statement := format('alter role %I bypassrls;', current_user);
      return next;
    end if;
  end loop;
  if not exists (
    select from pg_policy p
    where p.polrelid = p_table and p.polname = 'projax_write' and p.polpermissive and p.polcmd = '*'
      and pg_get_expr(p.polqual, p.polrelid) = 'true' and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
      and exists (select from unnest(p.polroles) role where role = 0 or pg_has_role(role, 'usage'))
  ) then
    problem := format('mai.projects has row-level security and no policy projax_write that opens it to the role %I.', current_user);
    statement := format(case
        when exists (select from pg_policy p where p.polrelid = p_table and p.polname = 'projax_write') then 'drop policy projax_write on mai.projects; '
        else ''
      end || 'create policy projax_write on mai.projects to %I using (true) with check (true);', current_user);
    return next;
  end if;
end
$$;

create function mirror.problems() returns table (problem text, statement text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_schema pg_namespace;
  v_table pg_class;
  v_lacking text[];
begin
  select * into v_schema from pg_namespace where nspname = 'mai';
  if not found then
    return query select 'There is no schema mai, and this role may not make it.',
      format('create schema mai authorization %I;', current_user);
    return;
  elsif not has_schema_privilege(v_schema.oid, 'usage') then
    return query select format('The role %I may not use the schema mai.', current_user), format('grant usage on schema mai to %I;', current_user);
  end if;
  select * into v_table from pg_class where relnamespace = v_schema.oid and relname = 'projects';
  if v_table.relkind not in ('r', 'p') then
    return query select 'mai.projects is no table.', 'alter view mai.projects rename to projects_view;';
    return;
  elsif v_table.oid is null then
    return query select 'There is no table mai.projects, and this role may not make it.', format('grant usage, create on schema mai to %I;', current_user);
    return;
  end if;

  v_lacking := array(
    select privilege from unnest('{select,insert,update,delete,trigger}'::text[]) privilege where not has_table_privilege(v_table.oid, privilege)
  );
  if v_lacking <> '{}' then
    return query select format('The role %I lacks %s on mai.projects.', current_user, array_to_string(v_lacking, ', ')),
      format('grant %s on mai.projects to %I;', array_to_string(v_lacking, ', '), current_user);
  end if;

  return query select * from mirror.column_problems(v_table.oid);

  -- Without a policy for the mirror, an update would silently find no row.
  if v_table.relrowsecurity and not (select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = current_user)
     and (v_table.relforcerowsecurity or not pg_has_role(v_table.relowner, 'usage'))
  then
    return query select * from mirror.policy_problems(v_table.oid);
  end if;
end
$$;
comment on function mirror.problems is 'What keeps the mirror from writing mai.projects, each with the statement that an operator has to run; no rows: nothing.';

create function mirror.is_attached() returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select count(*) = 5 from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
  where (n.nspname, c.relname, t.tgname) in (
    ('registry', 'projects', 'projects_sync_to_mai_insert'), ('registry', 'projects', 'projects_sync_to_mai'),
    ('registry', 'projects', 'projects_sync_to_mai_delete'),
    ('mai', 'projects', 'mai_projects_sync_to_projax'), ('mai', 'projects', 'mai_projects_sync_to_projax_truncate')
  ) and t.tgenabled in ('O', 'A')
$$;
comment on function mirror.is_attached is 'Whether the triggers of both sides are there and enabled.';

create function mirror.has_trigger(p_schema text, p_trigger text) returns boolean
language sql stable
as $$
  select exists (
    select from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = p_schema and c.relname = 'projects' and t.tgname = p_trigger
  )
$$;

create function mirror.make_table() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from pg_namespace where nspname = 'mai') then
    create schema mai;
    comment on schema mai is 'The older system that keeps projects of its own. Treeline touches mai.projects alone.';
  end if;
  if not exists (select from pg_class where relnamespace = 'mai'::regnamespace and relname = 'projects') then
    create table mai.projects (
      id text primary key,
      name text not null default '',
      goal text not null default '',
      repo text not null default '',
      path text not null default '',
      memory_group text not null default '',
      status text not null default 'active',
      metadata jsonb not null default '{}',
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    comment on table mai.projects is 'Projects as the older system knows them; kept equal to registry.projects by the mirror.';
  end if;
exception
  -- What it may not make, it says below.
  when insufficient_privilege then null;
end
$$;
comment on function mirror.make_table is 'Makes mai.projects where there is none and this role may.';

create function mirror.attach() returns table (problem text, statement text)
language plpgsql
set search_path = pg_catalog, pg_temp
-- A trigger can be made when nobody is writing the table, and whoever wants to meanwhile waits behind it.
set lock_timeout = '2s'
as $$
#variable_conflict use_column
begin
  -- Several gateways may start at once.
  perform pg_advisory_xact_lock(hashtextextended('mirror.attach', 0));
  perform mirror.make_table();
  if not exists (select from mirror.problems()) then
    if not mirror.has_trigger('mai', 'mai_projects_sync_to_projax') then
      create trigger mai_projects_sync_to_projax after insert or update or delete on mai.projects
        for each row execute function mirror.sync_from_mai();
    end if;
    if not mirror.has_trigger('mai', 'mai_projects_sync_to_projax_truncate') then
      create trigger mai_projects_sync_to_projax_truncate after truncate on mai.projects
        for each statement execute function mirror.sync_from_mai();
    end if;
    -- For each statement where projects come, so that a project's own event is the first one: see feed.on_projects.
    if not mirror.has_trigger('registry', 'projects_sync_to_mai_insert') then
      create trigger projects_sync_to_mai_insert after insert on registry.projects
        referencing new table as new_rows for each statement execute function mirror.sync_to_mai();
    end if;
    if not mirror.has_trigger('registry', 'projects_sync_to_mai') then
      create trigger projects_sync_to_mai after update on registry.projects
        -- Whoever does not use the mirror does not pay for it.
        for each row when ('mai' = any (old.managed_by) or 'mai' = any (new.managed_by)) execute function mirror.sync_to_mai();
    end if;
    if not mirror.has_trigger('registry', 'projects_sync_to_mai_delete') then
      create trigger projects_sync_to_mai_delete after delete on registry.projects
        for each row when ('mai' = any (old.managed_by)) execute function mirror.sync_to_mai();
    end if;
  end if;
  return query select problem, statement from mirror.problems();
exception
  when lock_not_available then
    return query select 'Somebody keeps writing one of the two tables, so that their triggers could not be made.', 'select * from mirror.attach();';
end
$$;
comment on function mirror.attach is
  'Makes what is missing of mai.projects and of the triggers of both sides, as far as this role may; answers what else is needed.';

do $$ begin perform mirror.attach(); end $$;

create function mirror.require_ready() returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_problem text;
  v_statement text;
begin
  select problem, statement into v_problem, v_statement from mirror.problems() limit 1;
  if found then
    perform registry.refuse('FORBIDDEN', format('The mirror is not ready. %s Let an operator run: %s', v_problem, v_statement),
      jsonb_build_object('statement', v_statement));
  end if;
end
$$;

create function mirror.status() returns table (
  attached boolean, project_count int, row_count int, unclassified_count int, problems jsonb
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  attached := mirror.is_attached();
  problems := (select coalesce(jsonb_agg(jsonb_build_object('problem', problem, 'statement', statement)), '[]') from mirror.problems());
  select count(*) into project_count from registry.projects p where p.managed_by @> '{mai}' and p.deleted_at is null;
  select count(*) into unclassified_count from registry.projects p where p.unclassified and p.active;
  if problems = '[]' then
    row_count := (select count(*) from mai.projects);
  end if;
  return next;
end
$$;
comment on function mirror.status is
  'Whether the mirror works and how much it holds: mirrored projects, rows over there (null where they cannot be read), unclassified projects.';

-- ---- comparing -------------------------------------------------------------------------------------------------------

create function mirror.value_here(p_project registry.projects, p_field text) returns jsonb
language sql stable
as $$
  select case p_field
    when 'name' then to_jsonb(p_project.name)
    when 'description' then to_jsonb(p_project.description)
    when 'remote_origin' then to_jsonb(mirror.without_credentials(coalesce(p_project.remote_origin, p_project.metadata ->> 'repo')))
    when 'trunk_path' then to_jsonb(p_project.trunk_path)
    when 'memory_group' then p_project.metadata -> 'memory_group'
    when 'status' then to_jsonb(p_project.status)
    when 'metadata' then mirror.travelling(p_project.metadata)
    else to_jsonb(p_project.slug)
  end
$$;

create function mirror.value_there(p_row mirror.row, p_field text) returns jsonb
language sql stable
as $$
  select case p_field
    when 'name' then to_jsonb(p_row.name)
    when 'description' then to_jsonb(p_row.goal)
    when 'remote_origin' then to_jsonb(mirror.without_credentials(p_row.repo))
    when 'trunk_path' then to_jsonb(p_row.path)
    when 'memory_group' then to_jsonb(p_row.memory_group)
    when 'status' then to_jsonb(p_row.status)
    when 'metadata' then mirror.travelling(p_row.metadata)
    else to_jsonb(p_row.id)
  end
$$;

create function mirror.cut(p_value jsonb) returns jsonb
language sql stable parallel safe
as $$
  select case when octet_length(p_value::text) <= 4000 then p_value else to_jsonb(left(p_value #>> '{}', 1000) || '…') end
$$;

-- One side may be null: a mirrored project without a row, or a row without a mirrored project.
create function mirror.drift_of(p_project registry.projects, p_row mirror.row, p_is_linked boolean) returns text[]
language sql stable
as $$
  select case
    when p_row.id is null then '{row}'::text[]
    when p_project.id is null or not mirror.is_mirrored(p_project) then '{project}'::text[]
    else case when p_is_linked then '{}'::text[] else '{link}'::text[] end || mirror.differences(p_project, p_row)
  end
$$;

create function mirror.drift(p_project_ids uuid[] default null, p_limit int default 100)
returns table (project_id uuid, mai_id text, field text, ours jsonb, theirs jsonb)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
-- Of a few projects or of all is not one plan.
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
begin
  perform mirror.require_ready();
  return query
  with mirrored as (
    select p, m.mai_id, exists (
        select from registry.project_links l
        where l.project_id = p.id and l.ref_type = 'mai-project' and l.ref_id = m.mai_id and l.rel = 'derived-from'
      ) as is_linked
    from registry.projects p left join mirror.pairs m on m.project_id = p.id
    where p.managed_by @> '{mai}' and p.deleted_at is null and (p_project_ids is null or p.id = any (p_project_ids))
  ), there as (
    select row(r.id, r.name, r.goal, r.repo, r.path, r.memory_group, r.status, r.metadata)::mirror.row as r, r.id::text as mai_id, m.project_id
    from mai.projects r left join mirror.pairs m on m.mai_id = r.id
    where p_project_ids is null or m.project_id = any (p_project_ids)
  ), found as materialized (
    -- Found first and counted then: a plan that hopes to find a few at once goes over the other side for each where there are none.
    select mirrored.p, there.r, coalesce(there.mai_id, mirrored.mai_id) as mai_id, there.project_id as owner_id, drift.field
    from mirrored
    full join there on there.mai_id = mirrored.mai_id
    cross join lateral unnest(mirror.drift_of(mirrored.p, there.r, mirrored.is_linked)) as drift (field)
  )
  select coalesce((found.p).id, owner.id), found.mai_id, found.field,
    case when (found.p).id is not null then mirror.cut(mirror.value_here(found.p, found.field)) end,
    case when (found.r).id is not null then mirror.cut(mirror.value_there(found.r, found.field)) end
  from found left join registry.projects owner on owner.id = found.owner_id
  order by found.mai_id, 1, found.field
  limit greatest(p_limit, 0);
end
$$;
comment on function mirror.drift is
  'Where the two sides do not say the same now: a field of both, or "row", "project" or "link" where that is missing altogether.';

-- ---- healing ---------------------------------------------------------------------------------------------------------

create function mirror.heal_row(p_project_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_project registry.projects := mirror.lock_project(p_project_id);
begin
  if mirror.is_mirrored(v_project) then
    if mirror.is_linked(p_project_id) then
      return mirror.push(p_project_id, mirror.all_fields());
    end if;
    perform mirror.begin_pair(p_project_id);
    return true;
  elsif (mirror.lock_row((mirror.pair_of(p_project_id)).mai_id)).id is not null then
    perform mirror.end_pair(p_project_id, coalesce('mai' = any (v_project.managed_by), false));
    return true;
  end if;
  return false;
end
$$;
comment on function mirror.heal_row is 'Makes the row of a project what the project says.';

create function mirror.heal_project(p_mai_id text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row mirror.row := mirror.lock_row(p_mai_id);
  v_project registry.projects := mirror.lock_project((mirror.find_pair(p_mai_id)).project_id);
begin
  if v_row.id is null then
    if mirror.is_mirrored(v_project) then
      perform registry.deactivate_project(v_project.id);
      perform mirror.tell('delete', v_project.id, p_mai_id, 'from_mai');
      return true;
    end if;
    return false;
  elsif mirror.is_mirrored(v_project) and mirror.is_linked(v_project.id) then
    return mirror.differences(v_project, v_row) <> '{}' and mirror.pull(p_mai_id, mirror.all_fields());
  end if;
  return mirror.take_row(p_mai_id);
end
$$;
comment on function mirror.heal_project is 'Makes the project of a row what the row says.';

-- ---- many at once ----------------------------------------------------------------------------------------------------

-- Tables that were filled before the mirror was there come over by the thousand, nearly all of them in the same simple way. These do
-- in a statement for many what mirror.take_row and mirror.begin_pair do for one, and leave to those whatever is not simple: a name
-- that cannot be stored, a slug, an id or a remote that is taken.

create function mirror.simple_projects(p_mai_ids text[]) returns registry.projects[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return array(
    select jsonb_populate_record(null::registry.projects, jsonb_build_object(
      'id', gen_random_uuid(), 'slug', r.id, 'name', r.name, 'description', nullif(r.goal, ''), 'status', mirror.status_here(r.status),
      'remote_origin', nullif(mirror.without_credentials(r.repo), ''), 'trunk_path', nullif(r.path, ''),
      'metadata', mirror.keep_memory_group(mirror.keep_status(mirror.travelling(r.metadata), r.status), r.memory_group)
    ))
    from (select r.* from mai.projects r where r.id = any (p_mai_ids) order by r.id for no key update) r
    where mirror.wanted_slug(r.id) = r.id and mirror.is_storable_name(r.name) and mirror.is_metadata(r.metadata)
      and (coalesce(btrim(r.repo), '') = '' or mirror.free_remote(mirror.without_credentials(r.repo), gen_random_uuid()) is not null)
      and not exists (select from mirror.pairs m where m.mai_id = r.id)
      and not exists (select from registry.projects p where p.slug = r.id)
  );
end
$$;
comment on function mirror.simple_projects is 'The projects that these rows, of those that are none yet, become without further ado.';

create function mirror.simple_beginnings(p_project_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  return array(
    select p.id
    from (select p.id, p.slug from registry.projects p where p.id = any (p_project_ids) and mirror.is_mirrored(p) order by p.id for no key update) p
    where not exists (select from mirror.pairs m where m.project_id = p.id or m.mai_id = p.slug)
      and not exists (select from mai.projects r where r.id = p.slug)
  );
end
$$;
comment on function mirror.simple_beginnings is 'Those of these projects that have no row yet, and whose slug is free over there.';

create function mirror.link_all(p_project_ids uuid[], p_direction text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  insert into registry.project_links (project_id, ref_type, ref_id, rel)
  select m.project_id, 'mai-project', m.mai_id, 'derived-from' from mirror.pairs m where m.project_id = any (p_project_ids)
  on conflict do nothing;
  update mirror.pairs m set joining = false where m.project_id = any (p_project_ids) and m.joining;
  perform mirror.tell('insert', m.project_id, m.mai_id, p_direction) from mirror.pairs m where m.project_id = any (p_project_ids);
end
$$;

create function mirror.take_rows(p_mai_ids text[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_projects registry.projects[] := mirror.simple_projects(p_mai_ids);
  v_taken uuid[];
  v_altered uuid;
begin
  insert into mirror.pairs (mai_id, project_id, joining) select p.slug, p.id, true from unnest(v_projects) p on conflict do nothing;
  with made as (
    insert into registry.projects (id, slug, name, description, status, remote_origin, trunk_path, managed_by, unclassified, metadata)
    select p.id, p.slug, p.name, p.description, p.status, p.remote_origin, p.trunk_path, '{mai}', true, p.metadata
    from unnest(v_projects) p where (mirror.find_pair(p.slug)).project_id = p.id
    on conflict do nothing
    returning id
  )
  select coalesce(array_agg(id), '{}') into v_taken from made;
  -- Two of one remote, or one that was taken since.
  delete from mirror.pairs m using unnest(v_projects) p where m.mai_id = p.slug and m.project_id = p.id and m.project_id <> all (v_taken);
  perform mirror.link_all(v_taken, 'from_mai');
  -- What others' triggers made of them meanwhile.
  for v_altered in
    select p.id from unnest(v_projects) intended join registry.projects p on p.id = intended.id
    where mirror.changed_here(intended, p) <> '{}'
  loop
    perform mirror.push(v_altered, mirror.all_fields());
  end loop;
  return array(select p.slug from unnest(v_projects) p where p.id = any (v_taken));
end
$$;
comment on function mirror.take_rows is 'Brings simple rows over; answers which.';

create function mirror.begin_pairs(p_project_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_begun uuid[] := mirror.simple_beginnings(p_project_ids);
  v_met record;
begin
  with begun as (
    insert into mirror.pairs (mai_id, project_id) select p.slug, p.id from unnest(v_begun) id, mirror.lock_project(id) p
    on conflict do nothing
    returning project_id
  )
  select coalesce(array_agg(project_id), '{}') into v_begun from begun;
  perform mirror.link_all(v_begun, 'to_mai');
  for v_met in select p.id, p.slug from unnest(v_begun) id, mirror.lock_project(id) p where not mirror.insert_row(p, p.slug) loop
    -- Somebody made a row of that id since.
    if (mirror.lock_row(v_met.slug)).id is null then
      perform mirror.refuse_hidden(v_met.slug);
    end if;
    perform mirror.unite(v_met.id, v_met.slug, true);
  end loop;
  return v_begun;
end
$$;
comment on function mirror.begin_pairs is 'Makes the rows of projects that begin simply; answers which.';

-- ---- batch by batch ---------------------------------------------------------------------------------------------------

create function mirror.batch_keys(p_direction text, p_after text, p_limit int, p_project_ids uuid[]) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
begin
  if p_direction = 'to_mai' then
    return array(
      select p.id::text from registry.projects p
      where (p_after is null or p.id > p_after::uuid) and (p_project_ids is null or p.id = any (p_project_ids))
      order by p.id limit p_limit
    );
  elsif p_direction = 'from_mai' then
    return array(
      select key from (
        (select r.id from mai.projects r left join mirror.pairs m on m.mai_id = r.id
          where (p_after is null or r.id > p_after) and (p_project_ids is null or m.project_id = any (p_project_ids))
          order by r.id limit p_limit)
        union
        (select m.mai_id from mirror.pairs m
          where (p_after is null or m.mai_id > p_after) and (p_project_ids is null or m.project_id = any (p_project_ids))
          order by m.mai_id limit p_limit)
        union
        -- Of projects that are named, also those whose row waits for them.
        (select p.slug from registry.projects p
          where p.id = any (p_project_ids) and (p_after is null or p.slug > p_after) and mirror.is_mirrored(p)
            and not exists (select from mirror.pairs m where m.project_id = p.id)
          order by p.slug limit p_limit)
      ) as side (key) order by key limit p_limit
    );
  end if;
  perform registry.refuse('INVALID', format('Expected the direction to_mai or from_mai, got %L.', p_direction));
end
$$;
comment on function mirror.batch_keys is 'The keys that a batch looks at: of projects towards mai, of rows and of pairs without a row from it.';

-- A batch looks at so many of one side, in the order of their keys, whether they differ or not: so all batches together are one
-- pass, and whoever was interrupted goes on where he was.
create function mirror.reconcile(p_direction text, p_after text default null, p_limit int default 500, p_project_ids uuid[] default null)
returns table (examined_count int, changed_count int, last_key text, has_more boolean, refused jsonb)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_keys text[];
  v_done text[];
  v_key text;
  v_changed boolean;
  v_detail text;
begin
  perform mirror.require_ready();
  if p_limit is null or p_limit < 1 then
    perform registry.refuse('INVALID', format('Expected a limit of 1 or more, got %s.', coalesce(p_limit::text, 'null')));
  end if;
  -- A table that was lost and made anew, most likely.
  if p_direction = 'from_mai' and p_project_ids is null and not exists (select from mai.projects)
     and exists (select from mirror.pairs m join registry.projects p on p.id = m.project_id where mirror.is_mirrored(p)) then
    perform registry.refuse('CONFLICT',
      'mai.projects is empty, and every mirrored project would be deactivated: bring them over with to_mai, or name the projects if that is meant.');
  end if;
  v_keys := mirror.batch_keys(p_direction, p_after, p_limit, p_project_ids);
  examined_count := cardinality(v_keys);
  refused := '[]';
  begin
    v_done := case when p_direction = 'to_mai' then mirror.begin_pairs(v_keys::uuid[])::text[] else mirror.take_rows(v_keys) end;
  exception
    when others then
      if mirror.is_passing(sqlstate) then
        raise;
      end if;
      -- One of them it is, and by itself it keeps no other from it.
      v_done := '{}';
  end;
  changed_count := cardinality(v_done);
  foreach v_key in array v_keys loop
    continue when v_key = any (v_done);
    begin
      v_changed := case when p_direction = 'to_mai' then mirror.heal_row(v_key::uuid) else mirror.heal_project(v_key) end;
      changed_count := changed_count + v_changed::int;
    exception
      -- One that cannot be healed keeps no other from it.
      when others then
        if mirror.is_passing(sqlstate) then
          raise;
        end if;
        get stacked diagnostics v_detail = pg_exception_detail;
        refused := refused || jsonb_build_object('message', sqlerrm, 'code', mirror.refusal_code(v_detail),
          'name', case when p_direction = 'to_mai' then (select p.slug from registry.projects p where p.id = v_key::uuid) else v_key end);
    end;
  end loop;
  last_key := v_keys[examined_count];
  has_more := examined_count = p_limit;
  return next;
end
$$;
comment on function mirror.reconcile is
  'Heals one batch: to_mai makes rows what projects say, from_mai the other way round. Go on with p_after => last_key while has_more.';

-- ---- rights ----------------------------------------------------------------------------------------------------------

revoke execute on all functions in schema mirror from public;
grant execute on function mirror.status, mirror.drift, mirror.reconcile to treeline_runtime;

update registry.metadata set value = '1.4.0' where key = 'schema_version';
