-- Why: what SQL users read: views and functions over the same definition of in flight that the API uses.
-- Locks: nothing but the new objects. Views run with the rights of who asks.

create view registry.v_worktrees_detail with (security_invoker = true) as
  select w.id, w.project_id, p.slug as project_slug, p.name as project_name, h.name as host, t.name as type, w.name,
    w.branch_name, coalesce(w.base_branch, p.default_branch) as base_branch, w.path, w.agent_id, w.agent_state, w.status,
    w.in_flight, w.active, w.has_uncommitted_changes, w.uncommitted_files_count, w.ahead_of_trunk, w.behind_trunk,
    w.head_commit, w.last_commit_message, w.last_commit_at, w.last_sync_at, w.merged_at, w.merged_by, w.merge_commit,
    w.metadata, w.created_at, w.updated_at
  from registry.worktrees w
  join registry.projects p on p.id = w.project_id
  join registry.hosts h on h.id = w.host_id
  join registry.worktree_types t on t.id = w.type_id;
comment on view registry.v_worktrees_detail is 'Worktrees with the names of what they belong to.';

create view registry.v_inflight_work with (security_invoker = true) as
  select d.* from registry.v_worktrees_detail d where d.in_flight;
comment on view registry.v_inflight_work is 'Work that is uncommitted or not merged yet.';

create view registry.v_projects_summary with (security_invoker = true) as
  select p.id, p.slug, p.name, p.status, p.active, p.remote_origin, p.default_branch,
    count(w.id) filter (where w.active) as active_worktrees,
    count(w.id) filter (where w.in_flight) as in_flight_worktrees,
    count(w.id) filter (where w.active and w.has_uncommitted_changes) as uncommitted_worktrees,
    count(w.id) filter (where w.active and w.merged_at is null and w.ahead_of_trunk > 0) as unmerged_worktrees,
    max(w.updated_at) as last_worktree_activity_at
  from registry.projects p
  left join registry.worktrees w on w.project_id = p.id
  group by p.id;
comment on view registry.v_projects_summary is 'Projects with counts of their worktrees.';

create view registry.v_recent_agent_activity with (security_invoker = true) as
  select a.id, a.agent_id, a.activity_type, a.description, a.file_path, a.created_at, a.worktree_id, w.name as worktree_name,
    w.branch_name, p.id as project_id, p.slug as project_slug
  from registry.agent_activities a
  join registry.worktrees w on w.id = a.worktree_id
  join registry.projects p on p.id = w.project_id
  where a.created_at > now() - interval '7 days';
comment on view registry.v_recent_agent_activity is 'What agents did in the last seven days.';

create function registry.get_worktree_by_path(p_path text, p_host text default 'local') returns setof registry.worktrees
language plpgsql stable
set search_path = ''
as $$
begin
  return query select * from registry.worktrees
    where id = registry.resolve_worktree(jsonb_build_object('path', p_path, 'host', p_host));
end
$$;
comment on function registry.get_worktree_by_path is 'The active worktree at a path of a host; unknown is an error.';

create function registry.get_agent_recent_work(p_agent_id text, p_limit int default 50)
returns setof registry.v_recent_agent_activity
language sql stable
set search_path = ''
as $$
  select a.id, a.agent_id, a.activity_type, a.description, a.file_path, a.created_at, a.worktree_id, w.name, w.branch_name, w.project_id, w.slug
  from (
    select * from registry.agent_activities where agent_id = p_agent_id
    order by created_at desc, id desc limit least(greatest(p_limit, 1), 1000)
  ) a
  -- One look-up each by key: the planner would otherwise hash all worktrees for a page of activities.
  cross join lateral (
    select w.name, w.branch_name, p.id as project_id, p.slug
    from registry.worktrees w join registry.projects p on p.id = w.project_id
    where w.id = a.worktree_id limit 1
  ) w
  order by a.created_at desc, a.id desc
$$;
comment on function registry.get_agent_recent_work is 'What an agent did last, newest first.';

create function registry.get_inflight_work(p_project_id uuid default null) returns setof registry.v_inflight_work
language plpgsql stable
set search_path = ''
as $$
begin
  if p_project_id is null then
    return query select * from registry.v_inflight_work d order by d.updated_at desc, d.id desc;
  else
    perform registry.resolve_project(jsonb_build_object('id', p_project_id));
    return query select * from registry.v_inflight_work d where d.project_id = p_project_id order by d.updated_at desc, d.id desc;
  end if;
end
$$;
comment on function registry.get_inflight_work is 'In-flight work of one project, or of all, newest change first.';

create function registry.get_registry_stats()
returns table (
  total_projects bigint, active_projects bigint, total_worktrees bigint, active_worktrees bigint, in_flight_worktrees bigint,
  total_activities bigint, activities_last_24h bigint, schema_version text
)
language sql stable
set search_path = ''
as $$
  select p.total, p.active, w.total, w.active, w.in_flight, (select count(*) from registry.agent_activities),
    (select count(*) from registry.agent_activities where created_at > now() - interval '24 hours'),
    (select value from registry.metadata where key = 'schema_version')
  from (select count(*) as total, count(*) filter (where active) as active from registry.projects) p
  cross join (
    select count(*) as total, count(*) filter (where active) as active, count(*) filter (where in_flight) as in_flight
    from registry.worktrees
  ) w
$$;
comment on function registry.get_registry_stats is 'Counts of everything, and the schema''s version.';

grant select on registry.v_worktrees_detail, registry.v_inflight_work, registry.v_projects_summary,
  registry.v_recent_agent_activity to treeline_runtime;
