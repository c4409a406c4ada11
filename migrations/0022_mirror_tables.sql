-- Why: an older system keeps a table of projects of its own, mai.projects, that its workers, tasks and sessions refer to. This is
-- what the mirror of the two is made of: which project is which row, and how a project reads on the other side.
-- Locks: nothing but the new objects, and registry.project_links briefly, for its trigger.

create schema mirror;
comment on schema mirror is 'Keeps registry.projects and mai.projects equal, whichever side is written to.';
grant usage on schema mirror to treeline_runtime;

-- ---- who is who ------------------------------------------------------------------------------------------------------

-- Kept while a project is deactivated, so that the same id coming back over there is the same project; and without a foreign
-- key, so that a project that is deleted for good still finds its row: what refers to it is gone before its triggers run.
create table mirror.pairs (
  mai_id text primary key,
  project_id uuid not null,
  joining boolean not null default false,
  constraint pairs_project_id_key unique (project_id)
);
comment on table mirror.pairs is 'Which row of mai.projects a project has, or had until it was deactivated.';
comment on column mirror.pairs.joining is
  'True while a row is being brought over in the running transaction: the project''s own changes wait until it is.';

-- Functions such as this one set no path: with one they would not be inlined, and each call of one that is not costs more than
-- all else that a change travels by. Their callers set theirs.
create function mirror.is_mirrored(p_project registry.projects) returns boolean
language sql immutable parallel safe
as $$
  select p_project.deleted_at is null and coalesce('mai' = any (p_project.managed_by), false)
$$;
comment on function mirror.is_mirrored is 'A project is mirrored while mai is among those that manage it and it is not deactivated.';

-- A link of an id to a project, made before there was a mirror, says which row is meant.
insert into mirror.pairs (mai_id, project_id)
select l.ref_id, l.project_id
from registry.project_links l join registry.projects p on p.id = l.project_id
where l.ref_type = 'mai-project' and l.rel = 'derived-from' and mirror.is_mirrored(p)
order by l.created_at
on conflict do nothing;

-- The link is how everybody else sees the pair, so it may not say anything else.
create function mirror.on_link() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op <> 'DELETE' and (new.ref_type, new.rel) = ('mai-project', 'derived-from') and not exists (
    select from mirror.pairs m join registry.projects p on p.id = m.project_id
    where m.mai_id = new.ref_id and m.project_id = new.project_id and mirror.is_mirrored(p)
  ) then
    perform registry.refuse('INVALID', 'Links of a project to its row of mai.projects are made by the mirror: add "mai" to managedBy instead.');
  elsif tg_op <> 'INSERT' and (old.ref_type, old.rel) = ('mai-project', 'derived-from') and exists (
    select from mirror.pairs m join registry.projects p on p.id = m.project_id
    where m.mai_id = old.ref_id and m.project_id = old.project_id and mirror.is_mirrored(p)
  ) then
    perform registry.refuse('IN_USE', format(
      'The project is mirrored to %L of mai.projects, and this link says so: take "mai" out of managedBy to end it.', old.ref_id));
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;
create trigger project_links_mirror_insert before insert on registry.project_links
  for each row when (new.ref_type = 'mai-project' and new.rel = 'derived-from') execute function mirror.on_link();
create trigger project_links_mirror_update before update on registry.project_links
  for each row when ('mai-project' in (old.ref_type, new.ref_type) and 'derived-from' in (old.rel, new.rel))
  execute function mirror.on_link();
create trigger project_links_mirror_delete before delete on registry.project_links
  for each row when (old.ref_type = 'mai-project' and old.rel = 'derived-from') execute function mirror.on_link();

-- Each change of a mirrored project is two events more. It said to be immutable what is stable, and so was not inlined.
alter function feed.project_facts(registry.projects) stable;

-- ---- what corresponds ------------------------------------------------------------------------------------------------

-- What is mirrored of a row over there. The table may have columns more than these.
create type mirror.row as (
  id text, name text, goal text, repo text, path text, memory_group text, status text, metadata jsonb
);

-- Keys of the metadata that stand for columns, on one side or on the other: each side has its own.
create function mirror.own_keys() returns text[]
language sql immutable parallel safe
as $$
  select '{repo,path,memory_group,mai_status}'::text[]
$$;

create function mirror.travelling(p_metadata jsonb) returns jsonb
language sql immutable parallel safe
as $$
  select case jsonb_typeof(p_metadata)
    when 'object' then p_metadata - mirror.own_keys()
    -- A column over there that may be null; anything else is no metadata, and equal to nothing here.
    when 'null' then '{}'
    else coalesce(p_metadata, '{}')
  end
$$;
comment on function mirror.travelling is 'The metadata that both sides have in common.';

create function mirror.is_metadata(p_metadata jsonb) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(jsonb_typeof(p_metadata), 'null') in ('object', 'null')
$$;

create function mirror.staying(p_metadata jsonb) returns jsonb
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_metadata) is distinct from 'object' or not p_metadata ?| mirror.own_keys() then
    return '{}';
  end if;
  return (select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(p_metadata) where key = any (mirror.own_keys()));
end
$$;
comment on function mirror.staying is 'The metadata that each side keeps to itself.';

create function mirror.status_there(p_status text) returns text
language sql immutable parallel safe
as $$
  select case when p_status = 'done' then 'archived' when p_status in ('draft', 'published') then 'active' else p_status end
$$;

create function mirror.is_known_status(p_status text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(p_status in ('draft', 'active', 'published', 'sleeping', 'done', 'archived'), false)
$$;

create function mirror.status_here(p_status text) returns text
language sql immutable parallel safe
as $$
  select case when p_status = 'sleeping' then 'archived' when mirror.is_known_status(p_status) then p_status else 'active' end
$$;

create function mirror.is_same_status(p_ours text, p_theirs text) returns boolean
language sql immutable parallel safe
as $$
  select coalesce(p_ours = p_theirs, false)
    or (p_ours, coalesce(p_theirs, '')) in (('done', 'archived'), ('archived', 'sleeping'), ('draft', 'active'), ('published', 'active'))
    or (p_ours = 'active' and not mirror.is_known_status(p_theirs))
$$;
comment on function mirror.is_same_status is 'Whether a status here and one over there say the same, as far as each side can.';

create function mirror.is_remote(p_text text) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return registry.normalize_remote(p_text) is not null;
exception
  when invalid_parameter_value then
    return false;
end
$$;

-- registry.strip_credentials, at the price of a look where there is nothing to strip. Over there may be anything: what is no remote is
-- kept as it is written, but for what looks like a user and a password in it.
create function mirror.without_credentials(p_remote text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_text text;
begin
  if p_remote is null or (strpos(p_remote, '@') = 0 and p_remote = btrim(p_remote)) then
    return p_remote;
  end if;
  v_text := registry.strip_credentials(p_remote);
  if v_text ~ ':(?!//)[^\s@]*@|://[^\s/@]*@' and not mirror.is_remote(v_text) then
    v_text := regexp_replace(regexp_replace(v_text, '[^\s/:@]+:(?!//)[^\s@]*@', '', 'g'), '://[^\s/@]*@', '://', 'g');
  end if;
  return v_text;
end
$$;

create function mirror.as_row(p_project registry.projects) returns mirror.row
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return row(
    null, p_project.name, coalesce(p_project.description, ''),
    coalesce(mirror.without_credentials(coalesce(p_project.remote_origin, p_project.metadata ->> 'repo')), ''),
    coalesce(p_project.trunk_path, ''), coalesce(p_project.metadata ->> 'memory_group', ''),
    mirror.status_there(p_project.status), mirror.travelling(p_project.metadata)
  )::mirror.row;
end
$$;
comment on function mirror.as_row is 'A project as it reads over there; null here is empty there.';

-- The row's id is not part of it: it is never renamed from here, and followed when it is over there. Nor is the status, which is
-- compared in another way.
create function mirror.unlike(p_one mirror.row, p_other mirror.row) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array_remove(array[
    case when coalesce(p_one.name, '') <> coalesce(p_other.name, '') then 'name' end,
    case when coalesce(p_one.goal, '') <> coalesce(p_other.goal, '') then 'description' end,
    case when coalesce(p_one.repo, '') <> coalesce(p_other.repo, '')
      and coalesce(mirror.without_credentials(p_one.repo), '') <> coalesce(mirror.without_credentials(p_other.repo), '')
      then 'remote_origin' end,
    case when coalesce(p_one.path, '') <> coalesce(p_other.path, '') then 'trunk_path' end,
    case when coalesce(p_one.memory_group, '') <> coalesce(p_other.memory_group, '') then 'memory_group' end,
    case when mirror.travelling(p_one.metadata) <> mirror.travelling(p_other.metadata) then 'metadata' end
  ], null);
end
$$;

create function mirror.differences(p_project registry.projects, p_row mirror.row) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return mirror.unlike(mirror.as_row(p_project), p_row)
    || case when mirror.is_same_status(p_project.status, p_row.status) then '{}'::text[] else '{status}'::text[] end;
end
$$;
comment on function mirror.differences is 'The fields in which a project and its row do not say the same.';

create function mirror.changed_here(p_old registry.projects, p_new registry.projects) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return mirror.unlike(mirror.as_row(p_old), mirror.as_row(p_new))
    || case when p_old.status = p_new.status then '{}'::text[] else '{status}'::text[] end;
end
$$;

create function mirror.changed_there(p_old mirror.row, p_new mirror.row) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return mirror.unlike(p_old, p_new)
    || case when p_old.status is not distinct from p_new.status then '{}'::text[] else '{status}'::text[] end;
end
$$;
