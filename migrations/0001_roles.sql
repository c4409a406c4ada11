-- Why: everything else hangs on these: the role that request work takes on, the extension that search needs, and the two
-- schemas of the ground floor.
-- Locks: nothing that holds rows; the cluster's role catalogue briefly.

-- A role belongs to the whole cluster while a migration runs per database, so another database's migration may make it at
-- the same moment. Whoever comes second finds it made.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'treeline_runtime') then
    create role treeline_runtime nologin;
  end if;
exception
  when duplicate_object or unique_violation then null;
end
$$;

-- Request work connects as the owner and takes on treeline_runtime, which needs membership. From PostgreSQL 16 on the maker
-- of a role may grant it, but is no member that may SET ROLE until he does so.
do $$
declare
  v_privilege constant text := case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end;
begin
  if not pg_has_role(current_user, 'treeline_runtime', v_privilege) then
    grant treeline_runtime to current_user;
  end if;
exception
  -- The same grant from another database: a duplicate key, or "tuple concurrently updated", which has no code of its own.
  when unique_violation or internal_error then
    if not pg_has_role(current_user, 'treeline_runtime', v_privilege) then
      raise;
    end if;
end
$$;

-- In public, because the registry's functions name its operators there.
create extension if not exists pg_trgm with schema public;

-- New databases are born without it since PostgreSQL 15, those that were upgraded or restored from before are not: whoever
-- may create in public could put an operator where a careless search_path finds it.
do $$
begin
  if (select pg_has_role(current_user, nspowner, 'USAGE') from pg_catalog.pg_namespace where nspname = 'public') then
    revoke create on schema public from public;
  end if;
end
$$;

create schema auth;
comment on schema auth is 'Who may do what: principals, tokens, spaces, members of projects.';
create schema registry;
comment on schema registry is 'The live registry: projects, worktrees, hosts, claims, activities.';

grant usage on schema auth, registry to treeline_runtime;
