-- Why: rules that no client can get round: whoever writes, by whatever statement, meets the same ones.
-- Locks: the registry's tables briefly, for their triggers.

-- The WHEN condition below names its columns: a BEFORE trigger may not look at the whole row where columns are generated.
create function registry.on_project_write() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.remote_origin := registry.strip_credentials(nullif(btrim(new.remote_origin), ''));
  if tg_op = 'UPDATE' then
    new.updated_at := clock_timestamp();
  end if;
  return new;
end
$$;
create trigger projects_strip_credentials before insert on registry.projects
  for each row execute function registry.on_project_write();
create trigger projects_updated_at before update on registry.projects
  for each row when ((
    old.slug, old.name, old.description, old.kinds, old.status, old.remote_origin, old.default_branch,
    old.trunk_path, old.url_id, old.owner_id, old.managed_by, old.unclassified, old.metadata, old.deleted_at
  ) is distinct from (
    new.slug, new.name, new.description, new.kinds, new.status, new.remote_origin, new.default_branch,
    new.trunk_path, new.url_id, new.owner_id, new.managed_by, new.unclassified, new.metadata, new.deleted_at
  )) execute function registry.on_project_write();

-- A mere last_sync_at or git_observed_at says that somebody looked, not that anything changed.
create function registry.on_worktree_update() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end
$$;
create trigger worktrees_updated_at before update on registry.worktrees
  for each row when ((
    old.project_id, old.host_id, old.type_id, old.name, old.branch_name, old.base_branch, old.path, old.repository_path,
    old.agent_id, old.agent_state, old.has_uncommitted_changes, old.uncommitted_files_count, old.ahead_of_trunk,
    old.behind_trunk, old.head_commit, old.merge_base, old.last_commit_message, old.last_commit_at, old.merged_at,
    old.merged_by, old.merge_commit, old.metadata, old.active
  ) is distinct from (
    new.project_id, new.host_id, new.type_id, new.name, new.branch_name, new.base_branch, new.path, new.repository_path,
    new.agent_id, new.agent_state, new.has_uncommitted_changes, new.uncommitted_files_count, new.ahead_of_trunk,
    new.behind_trunk, new.head_commit, new.merge_base, new.last_commit_message, new.last_commit_at, new.merged_at,
    new.merged_by, new.merge_commit, new.metadata, new.active
  )) execute function registry.on_worktree_update();

-- The count is the fact and the flag follows it. A flag written alone moves the count, so that neither is lost.
create function registry.on_worktree_counts() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and new.uncommitted_files_count = old.uncommitted_files_count
     and new.has_uncommitted_changes <> old.has_uncommitted_changes then
    new.uncommitted_files_count := case when new.has_uncommitted_changes then 1 else 0 end;
  end if;
  new.has_uncommitted_changes := new.uncommitted_files_count > 0;
  return new;
end
$$;
create trigger worktrees_sync_uncommitted before insert or update of uncommitted_files_count, has_uncommitted_changes
  on registry.worktrees for each row execute function registry.on_worktree_counts();

-- ---- projects within projects ----------------------------------------------------------------------------------------

create function registry.on_project_parent() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Two transactions that each add one half of a cycle would not see each other: edges are added one at a time.
  perform pg_advisory_xact_lock(hashtextextended('registry.project_parents', 0));
  if exists (
    with recursive ancestors (id) as (
      select new.parent_id
      union
      select edge.parent_id from registry.project_parents edge join ancestors on edge.project_id = ancestors.id
    )
    select from ancestors where id = new.project_id
  ) then
    perform registry.refuse('CYCLE', 'A project cannot be its own ancestor: the parent given already lies within the project.',
      jsonb_build_object('projectId', new.project_id, 'parentId', new.parent_id));
  end if;
  return null;
end
$$;
-- After, not before: rows that the same statement adds must count as well.
create trigger project_parents_acyclic after insert or update on registry.project_parents
  for each row execute function registry.on_project_parent();

-- ---- built-in rows ---------------------------------------------------------------------------------------------------

create function registry.on_builtin_change() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform registry.refuse('BUILTIN', format(
    case when tg_op = 'DELETE' then 'The built-in %s %L cannot be deleted.' else 'The built-in %s %L cannot be renamed.' end,
    tg_argv[0], old.name));
  return null;
end
$$;
create trigger worktree_types_keep_builtin before delete on registry.worktree_types
  for each row when (old.is_builtin) execute function registry.on_builtin_change('worktree type');
create trigger worktree_types_keep_builtin_name before update on registry.worktree_types
  for each row when (old.is_builtin and (new.name <> old.name or not new.is_builtin))
  execute function registry.on_builtin_change('worktree type');
create trigger hosts_keep_local before delete on registry.hosts
  for each row when (old.name = 'local') execute function registry.on_builtin_change('host');
create trigger hosts_keep_local_name before update on registry.hosts
  for each row when (old.name = 'local' and new.name <> old.name) execute function registry.on_builtin_change('host');

-- ---- activities are append-only --------------------------------------------------------------------------------------

create function registry.on_activity_change() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform registry.refuse('FORBIDDEN', format(
    'Activities are append-only: %s is refused. Retention is registry.cleanup_old_activities(days).', tg_op));
  return null;
end
$$;
create trigger agent_activities_no_update before update on registry.agent_activities
  for each row execute function registry.on_activity_change();
-- A cascade comes from a trigger (depth 1) and passes: what goes with its worktree was not singled out.
create trigger agent_activities_no_delete before delete on registry.agent_activities
  for each row when (pg_trigger_depth() = 0 and coalesce(current_setting('registry.retention', true), '') <> 'on')
  execute function registry.on_activity_change();
create trigger agent_activities_no_truncate before truncate on registry.agent_activities
  for each statement execute function registry.on_activity_change();

-- ---- a live signal ---------------------------------------------------------------------------------------------------

-- Says that something changed and which rows; it carries no data. The payload of a NOTIFY is limited to 8,000 bytes.
create function registry.on_worktrees_changed() returns trigger
language plpgsql
set search_path = ''
as $$
declare
  v_ids uuid[];
  v_from int := 1;
begin
  if tg_op = 'INSERT' then
    select array_agg(id) into v_ids from new_rows;
  elsif tg_op = 'DELETE' then
    select array_agg(id) into v_ids from old_rows;
  else
    select array_agg(n.id) into v_ids
    from new_rows n join old_rows o on o.id = n.id
    where n.updated_at is distinct from o.updated_at;
  end if;
  while v_from <= coalesce(cardinality(v_ids), 0) loop
    perform pg_notify('treeline_feed', json_build_object(
      'topic', 'worktrees', 'op', lower(tg_op), 'ids', v_ids[v_from:v_from + 149])::text);
    v_from := v_from + 150;
  end loop;
  return null;
end
$$;
create trigger worktrees_notify_insert after insert on registry.worktrees
  referencing new table as new_rows for each statement execute function registry.on_worktrees_changed();
create trigger worktrees_notify_update after update on registry.worktrees
  referencing new table as new_rows old table as old_rows for each statement execute function registry.on_worktrees_changed();
create trigger worktrees_notify_delete after delete on registry.worktrees
  referencing old table as old_rows for each statement execute function registry.on_worktrees_changed();
