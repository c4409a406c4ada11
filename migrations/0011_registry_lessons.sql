-- Why: what use of the registry taught. Two registrations that meet in one path, a repository whose remote was changed, and
-- an error message that repeated a token from a remote's query.
-- Locks: nothing but the replaced functions.

create or replace function registry.normalize_remote(p_remote text) returns text
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
declare
  -- Never the raw text: an error message ends in logs, and the raw text may hold a password.
  v_remote text := registry.strip_credentials(p_remote);
  v_shown text := case
    when v_remote ~ ':[^/]*@' then 'a remote with credentials'
    -- Some hosts take a token in the query.
    else quote_literal(left(regexp_replace(v_remote, '[?#].*$', '?…'), 200))
  end;
  v_parts text[];
  v_scheme text;
  v_host text;
  v_port text;
  v_path text;
begin
  v_parts := regexp_match(v_remote, '^([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?(\[[0-9A-Fa-f:.]+\]|[^/:@\s]*)(?::([0-9]{1,5}))?/(.*)$');
  if v_parts is not null then
    v_scheme := lower(v_parts[1]);
    v_host := lower(v_parts[2]);
    v_port := v_parts[3];
    v_path := v_parts[4];
    if v_scheme not in ('ssh', 'https', 'http', 'git', 'file') then
      perform registry.refuse('INVALID', format('Expected a remote over ssh, https, http, git or file, got %s.', v_shown));
    end if;
    if v_scheme = 'file' and v_host = '' then
      v_host := 'localhost';
    end if;
    if v_port is not null and v_port::int <> (
      case v_scheme when 'ssh' then 22 when 'https' then 443 when 'http' then 80 when 'git' then 9418 else -1 end
    ) then
      v_host := v_host || ':' || v_port::int;
    end if;
  elsif v_remote !~ '://' then
    -- scp-like: no slash before the first colon. One letter before it is a Windows drive, not a host.
    v_parts := regexp_match(v_remote, '^(?:[^/:@\s]+@)?(\[[0-9A-Fa-f:.]+\]|[^/:@\s]{2,}):(.*)$');
    v_host := lower(v_parts[1]);
    v_path := v_parts[2];
    if v_path ~ '^[^/]*@[^/]*:' then
      v_host := null;
    end if;
  end if;

  v_path := regexp_replace(v_path, '/+', '/', 'g');
  v_path := regexp_replace(v_path, '^/', '');
  v_path := regexp_replace(v_path, '/$', '');
  v_path := regexp_replace(v_path, '\.git$', '');
  v_path := regexp_replace(v_path, '/$', '');
  if v_host is null or v_host = '' or v_path is null or v_path in ('', '~') or v_path ~ '[[:cntrl:]?#]' then
    perform registry.refuse('INVALID', format(
      'Expected a git remote such as git@github.com:owner/name.git or https://host/owner/name, got %s.', v_shown));
  end if;
  return v_host || '/' || v_path;
end
$$;

create or replace function registry.upsert_worktree(
  p_project_id uuid, p_type_name text, p_name text, p_branch_name text, p_path text, p_agent_id text,
  p_metadata jsonb, p_host text, p_base_branch text, p_repository_path text default null
) returns table (id uuid, created boolean)
language plpgsql security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_type int := registry.type_id(p_type_name);
  v_host uuid;
  v_project registry.projects;
  v_old registry.worktrees;
  v_other text;
begin
  select * into v_project from registry.projects p where p.id = p_project_id for key share;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No project has the id %s.', coalesce(p_project_id::text, 'null')));
  elsif v_project.deleted_at is not null then
    perform registry.refuse('INVALID', format('The project %L is deactivated: register it again first.', v_project.slug));
  end if;
  v_host := registry.upsert_host(coalesce(p_host, 'local'));
  select w.name into v_other from registry.worktrees w
  where w.host_id = v_host and w.path = p_path and w.active and (w.project_id, w.name) is distinct from (p_project_id, p_name);
  if found then
    perform registry.refuse('CONFLICT', format('The path %L is that of the worktree %L already.', p_path, v_other),
      jsonb_build_object('name', v_other, 'path', p_path));
  end if;

  -- Of many who register one name at once, one inserts and the others wait for it and update. No index is named: with
  -- the name's alone, two that pass its first look together meet in the path's, and that is an error.
  insert into registry.worktrees as w (
    project_id, host_id, type_id, name, branch_name, base_branch, path, repository_path, agent_id, metadata
  ) values (
    p_project_id, v_host, v_type, p_name, p_branch_name, p_base_branch, p_path, p_repository_path, p_agent_id,
    registry.merge_metadata('{}', p_metadata)
  ) on conflict do nothing
  returning w.id into id;
  created := id is not null;
  if created then
    return next;
    return;
  end if;

  select * into v_old from registry.worktrees w
  where w.project_id = p_project_id and w.host_id = v_host and w.name = p_name for no key update;
  if not found then
    -- Another name took the path since it was looked for above.
    perform registry.refuse('CONFLICT', format('The path %L is that of another worktree already.', p_path),
      jsonb_build_object('path', p_path));
  end if;
  id := v_old.id;
  if v_old.merged_at is not null then
    -- A new life: nothing of what was merged counts any more.
    delete from registry.worktree_files f where f.worktree_id = v_old.id;
    update registry.worktrees w set
      type_id = v_type, branch_name = p_branch_name, base_branch = p_base_branch, path = p_path,
      repository_path = p_repository_path, agent_id = p_agent_id, agent_state = 'unknown', agent_state_at = null,
      metadata = registry.merge_metadata('{}', p_metadata), has_uncommitted_changes = false, uncommitted_files_count = 0,
      ahead_of_trunk = 0, behind_trunk = 0, head_commit = null, merge_base = null, last_commit_message = null,
      last_commit_at = null, git_observed_at = null, merged_at = null, merged_by = null, merge_commit = null, active = true
    where w.id = v_old.id;
  elsif not v_old.active or (v_old.type_id, v_old.branch_name, v_old.path) is distinct from (v_type, p_branch_name, p_path)
     or p_base_branch is not null or p_repository_path is not null or p_agent_id is not null or p_metadata is not null then
    update registry.worktrees w set
      type_id = v_type, branch_name = p_branch_name, path = p_path, active = true,
      base_branch = coalesce(p_base_branch, w.base_branch),
      repository_path = coalesce(p_repository_path, w.repository_path),
      agent_id = coalesce(p_agent_id, w.agent_id),
      metadata = registry.merge_metadata(w.metadata, p_metadata)
    where w.id = v_old.id
      and (not w.active
        or (w.type_id, w.branch_name, w.path, w.base_branch, w.repository_path, w.agent_id, w.metadata) is distinct from
           (v_type, p_branch_name, p_path, coalesce(p_base_branch, w.base_branch), coalesce(p_repository_path, w.repository_path),
            coalesce(p_agent_id, w.agent_id), registry.merge_metadata(w.metadata, p_metadata)));
  end if;
  return next;
end
$$;

create or replace function registry.report_worktrees(
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
        -- A remote that was changed makes the repository another project's: what the old one had of it is gone from there.
        and (w.project_id <> v_project
          or not exists (select from jsonb_array_elements(p_worktrees) item where item ->> 'path' = w.path))
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
