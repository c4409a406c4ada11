-- Why: a forge that tells of a merge knows the project and the branch, and neither the host nor the name of a directory: so a
-- worktree can be named by its branch.
-- Locks: nothing but the functions' rows in the catalogue.

-- One that merged already may be told of again: it is what is meant where no active one has the branch.
create function registry.find_worktree_of_branch(p_project_id uuid, p_branch_name text, p_host text) returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids uuid[] := array(
    select w.id from registry.worktrees w
    where w.project_id = p_project_id and w.branch_name = p_branch_name and w.active
      and (p_host is null or w.host_id = (select h.id from registry.hosts h where h.name = p_host))
    limit 2
  );
begin
  if cardinality(v_ids) > 1 then
    perform registry.refuse('CONFLICT', format('Several active worktrees of the project have the branch %L: name the host, or one of them by its id.',
      left(p_branch_name, 500)), jsonb_build_object('ids', v_ids));
  end if;
  return coalesce(v_ids[1], (
    select w.id from registry.worktrees w
    where w.project_id = p_project_id and w.branch_name = p_branch_name and w.merged_at is not null
      and (p_host is null or w.host_id = (select h.id from registry.hosts h where h.name = p_host))
    order by w.merged_at desc limit 1
  ));
end
$$;

create or replace function registry.find_worktree(p_ref jsonb) returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_ref ? 'id' then
    return (select w.id from registry.worktrees w where w.id = (p_ref ->> 'id')::uuid);
  elsif p_ref ? 'path' then
    return (
      select w.id from registry.worktrees w join registry.hosts h on h.id = w.host_id
      where h.name = coalesce(p_ref ->> 'host', 'local') and w.path = p_ref ->> 'path' and w.active
    );
  elsif p_ref ? 'name' then
    return (
      select w.id from registry.worktrees w join registry.hosts h on h.id = w.host_id
      where h.name = coalesce(p_ref ->> 'host', 'local') and w.name = p_ref ->> 'name'
        and w.project_id = registry.find_project(p_ref -> 'project')
    );
  elsif p_ref ? 'branch' then
    return registry.find_worktree_of_branch(registry.find_project(p_ref -> 'project'), p_ref ->> 'branch', p_ref ->> 'host');
  end if;
  perform registry.refuse('INVALID', 'A worktree is named by one of id, path, name and branch.');
end
$$;
comment on function registry.find_worktree is
  'The id of the worktree that a reference names; null when there is none. A path names an active one; a branch an active one, or else '
  'the last that merged.';

create or replace function registry.describe_worktree(p_ref jsonb) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_ref ? 'path' then format('No active worktree has the path %L on the host %L.', left(p_ref ->> 'path', 500), coalesce(p_ref ->> 'host', 'local'))
    when p_ref ? 'name' then format('No worktree of that project is named %L on the host %L.', left(p_ref ->> 'name', 500), coalesce(p_ref ->> 'host', 'local'))
    when p_ref ? 'branch' then format('No worktree of that project has the branch %L%s.', left(p_ref ->> 'branch', 500),
      coalesce(format(' on the host %L', p_ref ->> 'host'), ''))
    else format('No worktree has the id %s.', coalesce(p_ref ->> 'id', 'null'))
  end
$$;

revoke execute on function registry.find_worktree_of_branch from public;
grant execute on function registry.find_worktree_of_branch to treeline_runtime;
