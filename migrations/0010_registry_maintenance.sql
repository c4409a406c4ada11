-- Why: retention, pruning and the questions an operator asks first.
-- Locks: nothing but the new functions. At run time dropping a month locks agent_activities for a moment.

create function registry.cleanup_old_activities(p_days int default 90) returns bigint
language plpgsql security definer
set search_path = ''
as $$
declare
  v_cutoff timestamptz;
  v_partition record;
  v_count bigint;
  v_deleted bigint := 0;
begin
  if p_days is null or p_days < 1 then
    perform registry.refuse('INVALID', format('Expected a retention of at least 1 day, got %s.', coalesce(p_days::text, 'null')));
  end if;
  v_cutoff := now() - make_interval(days => p_days);
  for v_partition in
    select c.oid::regclass as name
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'registry.agent_activities'::regclass and c.relname ~ '^agent_activities_\d{4}_\d{2}$'
      and (to_timestamp(right(c.relname, 7) || '_01 +00', 'YYYY_MM_DD TZH') + interval '1 month') <= v_cutoff
    order by c.relname
  loop
    execute format('select count(*) from %s', v_partition.name) into v_count;
    execute format('drop table %s', v_partition.name);
    v_deleted := v_deleted + v_count;
  end loop;
  perform set_config('registry.retention', 'on', true);
  delete from registry.agent_activities where created_at < v_cutoff;
  get diagnostics v_count = row_count;
  perform set_config('registry.retention', '', true);
  return v_deleted + v_count;
end
$$;
comment on function registry.cleanup_old_activities is
  'Deletes activities older than so many days: whole months by dropping their partition, the rest row by row. Returns how many.';

create function registry.prune_inactive_worktrees(p_days int default 30, p_dry_run boolean default false)
returns table (worktree registry.worktrees, spared_because text)
language plpgsql security definer
set search_path = ''
as $$
declare
  v_row record;
begin
  if p_days is null or p_days < 0 then
    perform registry.refuse('INVALID', format('Expected 0 days or more, got %s.', coalesce(p_days::text, 'null')));
  end if;
  for v_row in
    select w as worktree, case
      when w.has_uncommitted_changes then format('%s uncommitted files', w.uncommitted_files_count)
      when w.merged_at is null and w.ahead_of_trunk > 0 then format('%s commits that are not merged', w.ahead_of_trunk)
      when exists (select from registry.agent_activities a where a.worktree_id = w.id) then 'activities that are still retained'
    end as spared_because
    from registry.worktrees w
    where not w.active and w.updated_at < now() - make_interval(days => p_days)
    order by w.id for update
  loop
    worktree := v_row.worktree;
    spared_because := v_row.spared_because;
    if spared_because is null and not coalesce(p_dry_run, false) then
      delete from registry.worktrees where id = (worktree).id;
    end if;
    return next;
  end loop;
end
$$;
comment on function registry.prune_inactive_worktrees is
  'Deletes worktrees that have been inactive for so many days. Spares, and says why, what has uncommitted or unmerged work '
  'or retained activities. A dry run only says.';

-- VACUUM cannot run inside a function: the gateway's maintenance runs each statement by itself, as the owner.
create function registry.maintenance_vacuum() returns setof text
language sql stable
set search_path = ''
as $$
  select format('vacuum (analyze) %s', c.oid::regclass)
  from pg_class c
  where c.relnamespace in ('registry'::regnamespace, 'auth'::regnamespace) and c.relkind = 'r'
  order by c.oid::regclass::text
$$;
comment on function registry.maintenance_vacuum is 'The statements that vacuum the registry; run each outside a transaction.';

create function registry.health() returns jsonb
language plpgsql stable security definer
set search_path = ''
as $$
declare
  v_slowest jsonb;
  v_schema text;
begin
  select n.nspname into v_schema from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'pg_stat_statements';
  if found then
    begin
      execute format($sql$
        select jsonb_agg(row_to_json(s)) from (
          select left(query, 300) as query, calls, round(mean_exec_time::numeric, 2) as mean_ms, round(total_exec_time::numeric) as total_ms
          from %I.pg_stat_statements
          where dbid = (select oid from pg_catalog.pg_database where datname = current_database())
          order by total_exec_time desc limit 10
        ) s $sql$, v_schema) into v_slowest;
    exception when others then
      -- Installed but not preloaded: the view exists and cannot be read.
      v_slowest := null;
    end;
  end if;
  return jsonb_build_object(
    'schemaVersion', (select value from registry.metadata where key = 'schema_version'),
    'serverVersion', current_setting('server_version'),
    'databaseBytes', pg_database_size(current_database()),
    'tables', (
      select jsonb_agg(jsonb_build_object('name', s.schemaname || '.' || s.relname, 'bytes', pg_total_relation_size(s.relid),
        'liveRows', s.n_live_tup, 'deadRows', s.n_dead_tup, 'lastVacuumAt', greatest(s.last_vacuum, s.last_autovacuum))
        order by pg_total_relation_size(s.relid) desc)
      from pg_stat_user_tables s where s.schemaname in ('registry', 'auth')),
    'indexes', (
      select jsonb_agg(jsonb_build_object('name', s.indexrelname, 'bytes', pg_relation_size(s.indexrelid), 'scans', s.idx_scan)
        order by pg_relation_size(s.indexrelid) desc)
      from pg_stat_user_indexes s where s.schemaname in ('registry', 'auth')),
    'unusedIndexes', (
      select coalesce(jsonb_agg(s.indexrelname order by s.indexrelname), '[]')
      from pg_stat_user_indexes s join pg_index i on i.indexrelid = s.indexrelid
      where s.schemaname in ('registry', 'auth') and s.idx_scan = 0 and not i.indisunique),
    'slowestStatements', v_slowest,
    'replicationLagSeconds', case when pg_is_in_recovery() then extract(epoch from now() - pg_last_xact_replay_timestamp()) end,
    'oldestTransactionSeconds', (
      select round(extract(epoch from clock_timestamp() - min(xact_start))::numeric, 3)
      from pg_stat_activity where xact_start is not null and pid <> pg_backend_pid() and datname = current_database())
  );
end
$$;
comment on function registry.health is
  'What an operator asks first: version, sizes, dead rows, unused indexes, slowest statements where pg_stat_statements is '
  'there, replication lag, oldest open transaction.';

-- ---- who may call what -----------------------------------------------------------------------------------------------

-- Functions are open to PUBLIC unless that is taken back; the gateway gets exactly those that it calls.
revoke execute on all functions in schema registry from public;
grant execute on function
  registry.strip_credentials, registry.normalize_remote, registry.refuse,
  registry.find_project, registry.resolve_project, registry.get_project_by_origin, registry.search_projects,
  registry.get_project_working_path, registry.register_project, registry.upsert_project, registry.update_project,
  registry.deactivate_project, registry.delete_project, registry.classify_project, registry.link_project,
  registry.unlink_project, registry.set_project_member,
  registry.find_worktree, registry.describe_worktree, registry.resolve_worktree, registry.get_worktree_by_path,
  registry.claim_worktree, registry.renew_claim, registry.release_worktree, registry.register_worktree,
  registry.upsert_worktree, registry.mark_worktree_merged, registry.deactivate_worktree, registry.update_worktree,
  registry.set_agent_state, registry.create_worktree_type, registry.delete_worktree_type,
  registry.update_worktree_git_state, registry.update_worktree_git_states, registry.report_worktrees,
  registry.log_activity, registry.log_activities, registry.get_agent_recent_work, registry.get_inflight_work,
  registry.get_registry_stats, registry.cleanup_old_activities, registry.prune_inactive_worktrees,
  registry.ensure_activity_partitions, registry.maintenance_vacuum, registry.health
to treeline_runtime;
