-- Why: git state is reported many times a minute by every host; one report and a batch of them follow the same rules.
-- Locks: nothing but the new functions. A batch locks its worktrees in the order of their ids.

-- What became of one report. Refusals are values here, so that one bad item of a batch needs no subtransaction.
create type registry.report_outcome as (
  worktree registry.worktrees,
  outcome text,
  code text,
  message text,
  details jsonb
);
comment on type registry.report_outcome is
  'outcome: changed, unchanged or refused; of a refusal its code (a stale one: STALE_REPORT), message and facts.';

create function registry.refused(p_worktree registry.worktrees, p_code text, p_message text, p_details jsonb default null)
returns registry.report_outcome
language sql immutable
set search_path = ''
as $$ select row(p_worktree, 'refused', p_code, p_message, p_details)::registry.report_outcome $$;

-- Makes the stored files the reported ones and says whether that changed any.
create function registry.replace_worktree_files(p_worktree_id uuid, p_files jsonb) returns boolean
language plpgsql
set search_path = ''
as $$
declare
  v_removed bigint;
  v_written bigint;
begin
  delete from registry.worktree_files f
  where f.worktree_id = p_worktree_id
    and not exists (select from jsonb_array_elements(p_files) item where item ->> 'path' = f.path);
  get diagnostics v_removed = row_count;
  insert into registry.worktree_files as f (worktree_id, path, previous_path, change, additions, deletions, base_lines)
  select distinct on (item ->> 'path')
    p_worktree_id, item ->> 'path', item ->> 'previousPath', item ->> 'change', (item ->> 'additions')::int,
    (item ->> 'deletions')::int, (
      -- An insertion touches no line; it counts as touching the one it stands before.
      select range_agg(int4range((line ->> 'start')::int, (line ->> 'start')::int + greatest((line ->> 'count')::int, 1)))
      from jsonb_array_elements(case when jsonb_typeof(item -> 'baseLines') = 'array' then item -> 'baseLines' else '[]' end) line
    )
  from jsonb_array_elements(p_files) item
  on conflict (worktree_id, path) do update set previous_path = excluded.previous_path, change = excluded.change,
    additions = excluded.additions, deletions = excluded.deletions, base_lines = excluded.base_lines
  where (f.previous_path, f.change, f.additions, f.deletions, f.base_lines) is distinct from
    (excluded.previous_path, excluded.change, excluded.additions, excluded.deletions, excluded.base_lines);
  get diagnostics v_written = row_count;
  return v_removed + v_written > 0;
end
$$;

create function registry.invalid_report(
  p_has_uncommitted boolean, p_uncommitted_count int, p_ahead int, p_behind int, p_observed_at timestamptz, p_head text,
  p_merge_base text, p_agent_state text, p_changed_files jsonb
) returns text
language sql stable
set search_path = ''
as $$
  select case
    when p_uncommitted_count < 0 or p_ahead < 0 or p_behind < 0 then
      format('Expected counts of 0 or more, got uncommitted %s, ahead %s, behind %s.',
        coalesce(p_uncommitted_count::text, '-'), coalesce(p_ahead::text, '-'), coalesce(p_behind::text, '-'))
    when p_has_uncommitted and p_uncommitted_count = 0 then
      'The flag says that there are uncommitted changes and the count says 0 files: send one of them, or make them agree.'
    when not p_has_uncommitted and p_uncommitted_count > 0 then
      format('The flag says that nothing is uncommitted and the count says %s files: send one of them, or make them agree.', p_uncommitted_count)
    when p_observed_at > clock_timestamp() + interval '5 minutes' then
      format('The report was observed at %s, more than 5 minutes ahead of the server: set the host''s clock.', p_observed_at)
    when lower(p_head) !~ '^([0-9a-f]{40}|[0-9a-f]{64})$' or lower(p_merge_base) !~ '^([0-9a-f]{40}|[0-9a-f]{64})$' then
      'Expected commits as 40 or 64 hexadecimal digits.'
    when p_agent_state not in ('working', 'waiting', 'idle', 'unknown') then
      format('Expected the agent''s state as working, waiting, idle or unknown, got %L.', p_agent_state)
    when p_changed_files is null or p_changed_files = 'null' then null
    when jsonb_typeof(p_changed_files) <> 'array' or jsonb_array_length(p_changed_files) > 5000 then
      'Expected at most 5,000 changed files as an array.'
    else (
      select format('Expected a changed file as {path, change: A, M, D, R, ? or U}, got %s.', left(item::text, 200))
      from jsonb_array_elements(p_changed_files) item
      where coalesce(item ->> 'path', '') = '' or octet_length(item ->> 'path') > 2400
        or coalesce(item ->> 'change', '') not in ('A', 'M', 'D', 'R', '?', 'U')
        or (item ->> 'additions')::bigint not between 0 and 2147483647
        or (item ->> 'deletions')::bigint not between 0 and 2147483647
        or exists (
          select from jsonb_array_elements(case when jsonb_typeof(item -> 'baseLines') = 'array' then item -> 'baseLines' else '[]' end) line
          where (line ->> 'start')::bigint not between 0 and 1000000000 or (line ->> 'count')::bigint not between 0 and 1000000000
        )
      limit 1
    )
  end
$$;

create function registry.apply_git_state(
  p_worktree_id uuid, p_has_uncommitted boolean, p_uncommitted_count int, p_ahead int, p_behind int, p_last_commit_hash text,
  p_last_commit_message text, p_observed_at timestamptz, p_last_commit_at timestamptz, p_branch_name text, p_expected_head text,
  p_fence bigint, p_agent_state text, p_changed_files jsonb, p_merge_base text
) returns registry.report_outcome
language plpgsql
set search_path = ''
as $$
declare
  v_old registry.worktrees;
  v_new registry.worktrees;
  v_problem text;
  v_facts jsonb;
  v_files_changed boolean := false;
begin
  select * into v_old from registry.worktrees where id = p_worktree_id for no key update;
  if not found then
    return registry.refused(null, 'NOT_FOUND', format('No worktree has the id %s.', coalesce(p_worktree_id::text, 'null')));
  end if;
  v_problem := registry.invalid_report(p_has_uncommitted, p_uncommitted_count, p_ahead, p_behind, p_observed_at,
    p_last_commit_hash, p_merge_base, p_agent_state, p_changed_files);
  if v_problem is not null then
    return registry.refused(v_old, 'INVALID', v_problem);
  end if;
  if p_fence is not null then
    v_facts := registry.fence_refusal(p_worktree_id, p_fence);
    if v_facts is not null then
      return registry.refused(v_old, 'FENCED', format(
        'The claim with fence %s was superseded (the fence is now %s): claim the worktree again before reporting.',
        p_fence, coalesce(v_facts ->> 'fence', 'none')), v_facts);
    end if;
  end if;
  if p_observed_at < v_old.git_observed_at then
    return registry.refused(v_old, 'STALE_REPORT', format('A report observed at %s is stored; this one, observed at %s, was dropped.',
      v_old.git_observed_at, p_observed_at), jsonb_build_object('observedAt', v_old.git_observed_at));
  end if;
  if p_expected_head is not null and lower(p_expected_head) is distinct from v_old.head_commit then
    return registry.refused(v_old, 'HEAD_MOVED', format('The stored head is %s, not %s: look again and report what is there.',
      coalesce(v_old.head_commit, 'none'), p_expected_head), jsonb_build_object('headCommit', v_old.head_commit));
  end if;

  v_new := v_old;
  v_new.uncommitted_files_count := coalesce(p_uncommitted_count, case
    when p_has_uncommitted then greatest(v_old.uncommitted_files_count, 1)
    when not p_has_uncommitted then 0
  end, v_old.uncommitted_files_count);
  v_new.has_uncommitted_changes := v_new.uncommitted_files_count > 0;
  v_new.ahead_of_trunk := coalesce(p_ahead, v_old.ahead_of_trunk);
  v_new.behind_trunk := coalesce(p_behind, v_old.behind_trunk);
  v_new.head_commit := coalesce(lower(p_last_commit_hash), v_old.head_commit);
  v_new.merge_base := coalesce(lower(p_merge_base), v_old.merge_base);
  v_new.last_commit_message := coalesce(p_last_commit_message, v_old.last_commit_message);
  v_new.last_commit_at := coalesce(p_last_commit_at, v_old.last_commit_at);
  v_new.branch_name := coalesce(p_branch_name, v_old.branch_name);
  v_new.agent_state := coalesce(p_agent_state, v_old.agent_state);
  if v_new.agent_state <> v_old.agent_state then
    v_new.agent_state_at := coalesce(p_observed_at, clock_timestamp());
  end if;
  -- Reported means there; what was merged stays merged until it is registered anew.
  if not v_old.active and v_old.merged_at is null and exists (
    select from registry.projects where id = v_old.project_id and deleted_at is null
  ) and not exists (
    select from registry.worktrees o where o.host_id = v_old.host_id and o.path = v_old.path and o.active
  ) then
    v_new.active := true;
  end if;
  if jsonb_typeof(p_changed_files) = 'array' then
    v_files_changed := registry.replace_worktree_files(p_worktree_id, p_changed_files);
  end if;

  if v_new is distinct from v_old then
    update registry.worktrees set
      has_uncommitted_changes = v_new.has_uncommitted_changes, uncommitted_files_count = v_new.uncommitted_files_count,
      ahead_of_trunk = v_new.ahead_of_trunk, behind_trunk = v_new.behind_trunk, head_commit = v_new.head_commit,
      merge_base = v_new.merge_base, last_commit_message = v_new.last_commit_message, last_commit_at = v_new.last_commit_at,
      branch_name = v_new.branch_name, agent_state = v_new.agent_state, agent_state_at = v_new.agent_state_at,
      active = v_new.active, git_observed_at = coalesce(p_observed_at, clock_timestamp()), last_sync_at = clock_timestamp()
    where id = p_worktree_id
    returning * into v_new;
    return row(v_new, 'changed', null, null, null)::registry.report_outcome;
  end if;
  -- None of these columns is indexed, so a heartbeat is a heap-only update.
  update registry.worktrees set git_observed_at = coalesce(p_observed_at, clock_timestamp()), last_sync_at = clock_timestamp()
  where id = p_worktree_id
  returning * into v_new;
  return row(v_new, case when v_files_changed then 'changed' else 'unchanged' end, null, null, null)::registry.report_outcome;
end
$$;

create function registry.update_worktree_git_state(
  p_worktree_id uuid, p_has_uncommitted boolean default null, p_uncommitted_count int default null, p_ahead int default null,
  p_behind int default null, p_last_commit_hash text default null, p_last_commit_message text default null,
  p_observed_at timestamptz default null, p_last_commit_at timestamptz default null, p_branch_name text default null,
  p_expected_head text default null, p_fence bigint default null, p_agent_state text default null,
  p_changed_files jsonb default null, p_merge_base text default null
) returns registry.report_outcome
language plpgsql security definer
set search_path = ''
as $$
declare
  v_result registry.report_outcome;
begin
  v_result := registry.apply_git_state(p_worktree_id, p_has_uncommitted, p_uncommitted_count, p_ahead, p_behind,
    p_last_commit_hash, p_last_commit_message, p_observed_at, p_last_commit_at, p_branch_name, p_expected_head, p_fence,
    p_agent_state, p_changed_files, p_merge_base);
  -- A late report is the network's doing, not a mistake: it is answered, not raised.
  if v_result.outcome = 'refused' and v_result.code <> 'STALE_REPORT' then
    perform registry.refuse(v_result.code, v_result.message, v_result.details);
  end if;
  return v_result;
end
$$;
comment on function registry.update_worktree_git_state is
  'Stores what git says of a worktree; null keeps. One observed before the stored one is dropped: outcome refused, code STALE_REPORT.';

create function registry.update_worktree_git_states(p_reports jsonb)
returns table (index int, worktree registry.worktrees, outcome text, code text, message text, details jsonb)
language plpgsql security definer
set search_path = ''
as $$
declare
  v_report jsonb;
  v_result registry.report_outcome;
begin
  perform from registry.worktrees w
  where w.id in (select (item ->> 'worktree_id')::uuid from jsonb_array_elements(p_reports) item)
  order by w.id for no key update;
  for index, v_report in select (ordinality - 1)::int, value from jsonb_array_elements(p_reports) with ordinality loop
    v_result := registry.apply_git_state((v_report ->> 'worktree_id')::uuid, (v_report ->> 'has_uncommitted')::boolean,
      (v_report ->> 'uncommitted_count')::int, (v_report ->> 'ahead')::int, (v_report ->> 'behind')::int,
      v_report ->> 'last_commit_hash', v_report ->> 'last_commit_message', (v_report ->> 'observed_at')::timestamptz,
      (v_report ->> 'last_commit_at')::timestamptz, v_report ->> 'branch_name', v_report ->> 'expected_head',
      (v_report ->> 'fence')::bigint, v_report ->> 'agent_state', v_report -> 'changed_files', v_report ->> 'merge_base');
    worktree := v_result.worktree;
    outcome := v_result.outcome;
    code := v_result.code;
    message := v_result.message;
    details := v_result.details;
    return next;
  end loop;
end
$$;
comment on function registry.update_worktree_git_states is
  'update_worktree_git_state for many: an array of objects with its arguments'' names without p_. Refusals are rows.';

-- The name under which a scanned worktree is known: by its path if it has one already, else its directory's, with a
-- number if another path holds that name.
create function registry.scanned_name(p_project_id uuid, p_host_id uuid, p_name text, p_path text) returns text
language plpgsql
set search_path = ''
as $$
declare
  v_name text;
  v_number int := 1;
begin
  select name into v_name from registry.worktrees
  where project_id = p_project_id and host_id = p_host_id and path = p_path
  order by active desc, updated_at desc limit 1;
  if found then
    return v_name;
  end if;
  v_name := p_name;
  while exists (
    select from registry.worktrees
    where project_id = p_project_id and host_id = p_host_id and name = v_name and active and path <> p_path
  ) loop
    v_number := v_number + 1;
    v_name := p_name || '-' || v_number;
  end loop;
  return v_name;
end
$$;

-- One repository's worktrees on one host, as a scanner saw them at p_observed_at.
create function registry.report_worktrees(
  p_host text, p_project jsonb, p_repository_path text, p_observed_at timestamptz, p_worktrees jsonb, p_complete boolean default false
) returns table (index int, project_id uuid, worktree_id uuid, outcome text, code text, message text, details jsonb)
language plpgsql security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_project uuid;
  v_host uuid := registry.upsert_host(p_host);
  v_item jsonb;
  v_state jsonb;
  v_name text;
  v_type text;
  v_old registry.worktrees;
  v_result registry.report_outcome;
begin
  if p_observed_at > clock_timestamp() + interval '5 minutes' then
    perform registry.refuse('INVALID', format('The report was observed at %s, more than 5 minutes ahead of the server: set the host''s clock.', p_observed_at));
  end if;
  select p.id into v_project from registry.upsert_project(
    p_project ->> 'name', p_project ->> 'remoteOrigin', p_project ->> 'defaultBranch', p_project ->> 'trunkPath',
    p_project -> 'metadata', p_project ->> 'description', p_project ->> 'slug', p_project ->> 'status',
    (select array_agg(value) from jsonb_array_elements_text(case when jsonb_typeof(p_project -> 'kinds') = 'array' then p_project -> 'kinds' end)),
    (select array_agg(value) from jsonb_array_elements_text(case when jsonb_typeof(p_project -> 'managedBy') = 'array' then p_project -> 'managedBy' end)),
    (select array_agg(value::uuid) from jsonb_array_elements_text(case when jsonb_typeof(p_project -> 'parents') = 'array' then p_project -> 'parents' end)),
    p_host, true) p;
  update registry.hosts set last_seen_at = greatest(last_seen_at, p_observed_at) where id = v_host;
  -- Two scanners of one repository take turns, so that the names given out below stay free.
  perform pg_advisory_xact_lock(hashtextextended('registry.report:' || v_host || v_project, 0));

  -- What vanished goes first: its names and paths are free for what came.
  if p_complete then
    perform registry.retire_worktree(gone.id, p_observed_at) from (
      select w.id from registry.worktrees w
      where w.host_id = v_host and w.repository_path = p_repository_path and w.active
        and coalesce(w.git_observed_at, w.created_at) <= p_observed_at
        and not exists (select from jsonb_array_elements(p_worktrees) item where item ->> 'path' = w.path)
      order by w.id for no key update
    ) gone;
  end if;
  perform from registry.worktrees w
  where w.host_id = v_host and w.project_id = v_project
    and w.path in (select item ->> 'path' from jsonb_array_elements(p_worktrees) item)
  order by w.id for no key update;

  for index, v_item in select (ordinality - 1)::int, value from jsonb_array_elements(p_worktrees) with ordinality loop
    project_id := v_project;
    worktree_id := null;
    outcome := 'refused';
    code := null;
    message := null;
    details := null;
    v_state := v_item -> 'state';
    v_name := registry.scanned_name(v_project, v_host, v_item ->> 'name', v_item ->> 'path');
    select * into v_old from registry.worktrees w where w.project_id = v_project and w.host_id = v_host and w.name = v_name;
    -- A scanner infers the type from names; what somebody set by hand holds until the branch is another.
    v_type := coalesce(
      (select t.name from registry.worktree_types t
        where t.id = v_old.type_id and v_old.merged_at is null and v_old.branch_name = v_item ->> 'branchName'),
      v_item ->> 'type', 'feat');
    if not exists (select from registry.worktree_types where name = v_type) then
      code := 'NOT_FOUND';
      message := format('No worktree type is named %L.', v_type);
    elsif btrim(coalesce(v_item ->> 'name', '')) = '' or btrim(coalesce(v_item ->> 'branchName', '')) = ''
       or coalesce(v_item ->> 'path', '') = '' or octet_length(v_item ->> 'path') > 2400
       or octet_length(v_name) > 500 or octet_length(v_item ->> 'branchName') > 500 or octet_length(v_item ->> 'baseBranch') > 500
       or octet_length(v_item ->> 'agentId') > 500 or btrim(v_item ->> 'baseBranch') = '' or btrim(v_item ->> 'agentId') = '' then
      code := 'INVALID';
      message := 'Expected a name and a branch of 1 to 500 bytes and a path of 1 to 2,400 bytes.';
    elsif exists (
      select from registry.worktrees w where w.host_id = v_host and w.path = v_item ->> 'path' and w.active and w.project_id <> v_project
    ) then
      code := 'CONFLICT';
      message := format('The path %L belongs to another project''s active worktree.', v_item ->> 'path');
    elsif v_old.id is not null and coalesce((v_item ->> 'observedAt')::timestamptz, p_observed_at) < v_old.git_observed_at then
      worktree_id := v_old.id;
      code := 'STALE_REPORT';
      message := format('A report observed at %s is stored; this one, observed at %s, was dropped.',
        v_old.git_observed_at, coalesce((v_item ->> 'observedAt')::timestamptz, p_observed_at));
    elsif (v_item ->> 'fence') is not null and registry.fence_refusal(v_old.id, (v_item ->> 'fence')::bigint) is not null then
      worktree_id := v_old.id;
      code := 'FENCED';
      message := format('The claim with fence %s was superseded: claim the worktree again before reporting.', v_item ->> 'fence');
      details := registry.fence_refusal(v_old.id, (v_item ->> 'fence')::bigint);
    end if;
    if code is null then
      message := registry.invalid_report((v_state ->> 'hasUncommittedChanges')::boolean, (v_state ->> 'uncommittedFilesCount')::int,
        (v_state ->> 'aheadOfTrunk')::int, (v_state ->> 'behindTrunk')::int, (v_item ->> 'observedAt')::timestamptz,
        v_state ->> 'headCommit', v_state ->> 'mergeBase', null, v_state -> 'changedFiles');
      code := case when message is not null then 'INVALID' end;
    end if;
    if code is not null then
      return next;
      continue;
    end if;

    select u.id into worktree_id from registry.upsert_worktree(v_project, v_type, v_name, v_item ->> 'branchName', v_item ->> 'path',
      v_item ->> 'agentId', null, p_host, v_item ->> 'baseBranch', p_repository_path) u;
    v_result := registry.apply_git_state(worktree_id, (v_state ->> 'hasUncommittedChanges')::boolean,
      (v_state ->> 'uncommittedFilesCount')::int, (v_state ->> 'aheadOfTrunk')::int, (v_state ->> 'behindTrunk')::int,
      v_state ->> 'headCommit', v_state ->> 'lastCommitMessage', coalesce((v_item ->> 'observedAt')::timestamptz, p_observed_at),
      (v_state ->> 'lastCommitAt')::timestamptz, null, null, null, null, v_state -> 'changedFiles', v_state ->> 'mergeBase');
    outcome := v_result.outcome;
    code := v_result.code;
    message := v_result.message;
    details := v_result.details;
    return next;
  end loop;
  if jsonb_array_length(p_worktrees) = 0 then
    -- One row all the same: the caller wants to know the project.
    index := null;
    project_id := v_project;
    return next;
  end if;
end
$$;
comment on function registry.report_worktrees is
  'Registers a repository''s project and worktrees on a host and stores their git state, in one call; refusals are rows. '
  'p_complete: worktrees of this repository that are not named and were not seen since p_observed_at become inactive.';
