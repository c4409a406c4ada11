-- Why: what can be done with worktrees, claims included, as functions that psql users and the gateway share.
-- Locks: nothing but the new functions. At run time the order is project, worktrees by id, claims: so no deadlocks.

-- ---- references ------------------------------------------------------------------------------------------------------

-- A reference is {"id"}, {"host", "path"} or {"project": a project's reference, "host", "name"}.
create function registry.find_worktree(p_ref jsonb) returns uuid
language plpgsql stable
set search_path = ''
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
  end if;
  perform registry.refuse('INVALID', 'A worktree is named by one of id, path and name.');
end
$$;
comment on function registry.find_worktree is 'The id of the worktree that a reference names; null when there is none. A path names an active one.';

create function registry.describe_worktree(p_ref jsonb) returns text
language sql immutable
set search_path = ''
as $$
  select case
    when p_ref ? 'path' then format('No active worktree has the path %L on the host %L.', left(p_ref ->> 'path', 500), coalesce(p_ref ->> 'host', 'local'))
    when p_ref ? 'name' then format('No worktree of that project is named %L on the host %L.', left(p_ref ->> 'name', 500), coalesce(p_ref ->> 'host', 'local'))
    else format('No worktree has the id %s.', coalesce(p_ref ->> 'id', 'null'))
  end
$$;

create function registry.resolve_worktree(p_ref jsonb) returns uuid
language plpgsql stable
set search_path = ''
as $$
declare
  v_id uuid := registry.find_worktree(p_ref);
begin
  if v_id is null then
    perform registry.refuse('NOT_FOUND', registry.describe_worktree(p_ref));
  end if;
  return v_id;
end
$$;
comment on function registry.resolve_worktree is 'As find_worktree, but an unknown worktree is an error (P0002).';

create function registry.lock_worktree(p_worktree_id uuid) returns registry.worktrees
language plpgsql
set search_path = ''
as $$
declare
  v_worktree registry.worktrees;
begin
  select * into v_worktree from registry.worktrees where id = p_worktree_id for no key update;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No worktree has the id %s.', coalesce(p_worktree_id::text, 'null')));
  end if;
  return v_worktree;
end
$$;

create function registry.type_id(p_type_name text) returns int
language plpgsql stable
set search_path = ''
as $$
declare
  v_id int;
begin
  select id into v_id from registry.worktree_types where name = p_type_name;
  if not found then
    perform registry.refuse('NOT_FOUND', format('No worktree type is named %L; there are %s.', p_type_name,
      (select string_agg(name, ', ' order by id) from registry.worktree_types)));
  end if;
  return v_id;
end
$$;

-- ---- claims ----------------------------------------------------------------------------------------------------------

-- Null when the fence may write. A lease that lapsed still may, until somebody else takes the worktree.
create function registry.fence_refusal(p_worktree_id uuid, p_fence bigint) returns jsonb
language sql stable
set search_path = ''
as $$
  select case when p_fence is not null and p_fence is distinct from c.fence then
    jsonb_build_object('fence', c.fence::text, 'agentId', c.agent_id, 'expiresAt', c.expires_at)
  end
  from (select p_worktree_id as id) asked left join registry.worktree_claims c on c.worktree_id = asked.id
$$;

create function registry.require_fence(p_worktree_id uuid, p_fence bigint) returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_refusal jsonb := registry.fence_refusal(p_worktree_id, p_fence);
begin
  if v_refusal is not null then
    perform registry.refuse('FENCED', format(
      'The claim with fence %s was superseded (the fence is now %s): claim the worktree again before writing.',
      p_fence, coalesce(v_refusal ->> 'fence', 'none')), v_refusal);
  end if;
end
$$;

create function registry.require_ttl(p_ttl interval) returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  if p_ttl is null or p_ttl < interval '1 second' or p_ttl > interval '1 day' then
    perform registry.refuse('INVALID', format('Expected a time to live from 1 second to 1 day, got %s.', coalesce(p_ttl::text, 'null')));
  end if;
end
$$;

create function registry.claim_worktree(
  p_worktree_id uuid, p_agent_id text, p_session text default null, p_ttl interval default '5 minutes',
  p_takeover boolean default false
) returns registry.worktree_claims
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
  v_now timestamptz := clock_timestamp();
  v_claim registry.worktree_claims;
begin
  perform registry.require_ttl(p_ttl);
  if btrim(coalesce(p_agent_id, '')) = '' then
    perform registry.refuse('INVALID', 'Expected the agent that claims the worktree, got nothing.');
  elsif not v_worktree.active then
    perform registry.refuse('INVALID', format('The worktree %L is %s: register it again before claiming it.', v_worktree.name, v_worktree.status));
  end if;
  select * into v_claim from registry.worktree_claims where worktree_id = p_worktree_id for update;
  if v_claim.agent_id is not null and v_claim.expires_at > v_now
     and (v_claim.agent_id, v_claim.session) is distinct from (p_agent_id, p_session) and not coalesce(p_takeover, false) then
    -- Another session of the same agent is another holder: two processes in one worktree is what claims are against.
    perform registry.refuse('CLAIMED', format('The worktree is claimed by %L until %s: wait, or take it over.',
      v_claim.agent_id, to_char(v_claim.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
      jsonb_build_object('agentId', v_claim.agent_id, 'session', v_claim.session, 'expiresAt', v_claim.expires_at));
  end if;
  if v_claim.worktree_id is null then
    insert into registry.worktree_claims (worktree_id, agent_id, session, acquired_at, renewed_at, expires_at)
    values (p_worktree_id, p_agent_id, p_session, v_now, v_now, v_now + p_ttl)
    returning * into v_claim;
  elsif (v_claim.agent_id, v_claim.session) is not distinct from (p_agent_id, p_session) and v_claim.expires_at > v_now then
    update registry.worktree_claims set renewed_at = v_now, expires_at = v_now + p_ttl
    where worktree_id = p_worktree_id returning * into v_claim;
  else
    update registry.worktree_claims set agent_id = p_agent_id, session = p_session, fence = fence + 1,
      acquired_at = v_now, renewed_at = v_now, expires_at = v_now + p_ttl
    where worktree_id = p_worktree_id returning * into v_claim;
  end if;
  update registry.worktrees set agent_id = p_agent_id where id = p_worktree_id and agent_id is distinct from p_agent_id;
  return v_claim;
end
$$;
comment on function registry.claim_worktree is
  'Takes a worktree for an agent''s session, as a lease. Held by another: error CLAIMED with the holder and the expiry, '
  'unless taken over. Claiming again as the holder renews.';

create function registry.renew_claim(p_worktree_id uuid, p_fence bigint, p_ttl interval default '5 minutes')
returns registry.worktree_claims
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
  v_claim registry.worktree_claims;
begin
  perform registry.require_ttl(p_ttl);
  update registry.worktree_claims set renewed_at = clock_timestamp(), expires_at = clock_timestamp() + p_ttl
  where worktree_id = v_worktree.id and fence = p_fence and agent_id is not null and expires_at > clock_timestamp()
  returning * into v_claim;
  if not found then
    perform registry.refuse('FENCED', 'The claim has lapsed, or was released or taken over: claim the worktree again.',
      coalesce(registry.fence_refusal(p_worktree_id, p_fence), '{}'));
  end if;
  return v_claim;
end
$$;
comment on function registry.renew_claim is 'The holder''s heartbeat. A claim that lapsed or was taken over: error FENCED.';

create function registry.release_worktree(p_worktree_id uuid, p_fence bigint) returns registry.worktrees
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
begin
  if p_fence is null then
    perform registry.refuse('INVALID', 'Expected the fence of the claim to release, got nothing.');
  end if;
  perform registry.require_fence(p_worktree_id, p_fence);
  update registry.worktree_claims set agent_id = null, session = null, expires_at = least(expires_at, clock_timestamp())
  where worktree_id = p_worktree_id and agent_id is not null;
  return v_worktree;
end
$$;
comment on function registry.release_worktree is 'Ends a claim, by its holder only (the fence proves it); again changes nothing.';

-- ---- registering -----------------------------------------------------------------------------------------------------

create function registry.upsert_worktree(
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

  -- Of many who register one name at once, one inserts and the others wait for it and update.
  insert into registry.worktrees as w (
    project_id, host_id, type_id, name, branch_name, base_branch, path, repository_path, agent_id, metadata
  ) values (
    p_project_id, v_host, v_type, p_name, p_branch_name, p_base_branch, p_path, p_repository_path, p_agent_id,
    registry.merge_metadata('{}', p_metadata)
  ) on conflict (project_id, host_id, name) do nothing
  returning w.id into id;
  created := id is not null;
  if created then
    return next;
    return;
  end if;

  select * into strict v_old from registry.worktrees w
  where w.project_id = p_project_id and w.host_id = v_host and w.name = p_name for no key update;
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
comment on function registry.upsert_worktree is 'register_worktree, answering also whether the worktree is new.';

create function registry.register_worktree(
  p_project_id uuid, p_type_name text, p_name text, p_branch_name text, p_path text, p_agent_id text default null,
  p_metadata jsonb default null, p_host text default 'local', p_base_branch text default null
) returns uuid
language sql volatile
set search_path = ''
as $$
  select id from registry.upsert_worktree(p_project_id, p_type_name, p_name, p_branch_name, p_path, p_agent_id, p_metadata,
    p_host, p_base_branch)
$$;
comment on function registry.register_worktree is
  'Registers a worktree by project, host and name and returns its id. On a live one it updates what is given; after a '
  'merge it begins a new life.';

-- ---- changing --------------------------------------------------------------------------------------------------------

-- Ends a worktree's activity and its claim. p_observed_at: when it was seen gone, so that a report from before cannot
-- bring it back; null: now.
create function registry.retire_worktree(p_worktree_id uuid, p_observed_at timestamptz) returns void
language plpgsql
set search_path = ''
as $$
begin
  update registry.worktrees set active = false, git_observed_at = greatest(git_observed_at, coalesce(p_observed_at, clock_timestamp()))
  where id = p_worktree_id;
  update registry.worktree_claims set agent_id = null, session = null, expires_at = least(expires_at, clock_timestamp())
  where worktree_id = p_worktree_id and agent_id is not null;
end
$$;

create function registry.mark_worktree_merged(p_worktree_id uuid, p_merged_by text default null, p_merge_commit text default null)
returns registry.worktrees
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
begin
  perform registry.retire_worktree(p_worktree_id, null);
  update registry.worktrees set
    merged_at = coalesce(merged_at, clock_timestamp()),
    merged_by = coalesce(p_merged_by, merged_by),
    merge_commit = coalesce(lower(p_merge_commit), merge_commit)
  where id = p_worktree_id
  returning * into v_worktree;
  return v_worktree;
end
$$;
comment on function registry.mark_worktree_merged is 'The work has landed: the worktree is no longer in flight or active, its claim ends.';

create function registry.deactivate_worktree(p_worktree_id uuid, p_force boolean default false) returns registry.worktrees
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
begin
  if v_worktree.in_flight and not coalesce(p_force, false) then
    perform registry.refuse('IN_USE', format(
      'The worktree %L has work in flight (%s uncommitted files, %s commits ahead): land it, or force.',
      v_worktree.name, v_worktree.uncommitted_files_count, v_worktree.ahead_of_trunk),
      jsonb_build_object('uncommittedFilesCount', v_worktree.uncommitted_files_count, 'aheadOfTrunk', v_worktree.ahead_of_trunk));
  end if;
  if v_worktree.active then
    perform registry.retire_worktree(p_worktree_id, null);
  end if;
  select * into v_worktree from registry.worktrees where id = p_worktree_id;
  return v_worktree;
end
$$;
comment on function registry.deactivate_worktree is 'The worktree is gone from its host. In-flight work refuses (IN_USE) unless forced.';

create function registry.update_worktree(p_worktree_id uuid, p_patch jsonb, p_fence bigint default null) returns registry.worktrees
language plpgsql security definer
set search_path = ''
as $$
declare
  v_old registry.worktrees := registry.lock_worktree(p_worktree_id);
  v_new registry.worktrees := v_old;
begin
  perform registry.require_fence(p_worktree_id, p_fence);
  if p_patch ->> 'type' is not null then
    v_new.type_id := registry.type_id(p_patch ->> 'type');
  end if;
  if p_patch ? 'agent_id' then
    v_new.agent_id := p_patch ->> 'agent_id';
  end if;
  if p_patch ? 'base_branch' then
    v_new.base_branch := p_patch ->> 'base_branch';
  end if;
  v_new.metadata := registry.merge_metadata(v_old.metadata, p_patch -> 'metadata');
  if v_new is distinct from v_old then
    update registry.worktrees set type_id = v_new.type_id, agent_id = v_new.agent_id, base_branch = v_new.base_branch,
      metadata = v_new.metadata
    where id = p_worktree_id returning * into v_new;
  end if;
  return v_new;
end
$$;
comment on function registry.update_worktree is
  'Applies type, agent_id, base_branch and metadata as far as the patch names them; null clears agent and base; metadata merges.';

create function registry.set_agent_state(p_worktree_id uuid, p_state text, p_agent_id text default null, p_fence bigint default null)
returns registry.worktrees
language plpgsql security definer
set search_path = ''
as $$
declare
  v_worktree registry.worktrees := registry.lock_worktree(p_worktree_id);
begin
  perform registry.require_fence(p_worktree_id, p_fence);
  update registry.worktrees set agent_state = p_state, agent_state_at = clock_timestamp(), agent_id = coalesce(p_agent_id, agent_id)
  where id = p_worktree_id returning * into v_worktree;
  return v_worktree;
end
$$;
comment on function registry.set_agent_state is 'What the agent in the worktree is doing: working, waiting, idle or unknown.';

-- ---- types -----------------------------------------------------------------------------------------------------------

create function registry.create_worktree_type(
  p_name text, p_branch_prefix text, p_worktree_prefix text, p_description text default null, p_color text default null,
  p_icon text default null, p_metadata jsonb default null
) returns registry.worktree_types
language plpgsql security definer
set search_path = ''
as $$
declare
  v_type registry.worktree_types;
begin
  insert into registry.worktree_types (name, branch_prefix, worktree_prefix, description, color, icon, metadata)
  values (p_name, p_branch_prefix, p_worktree_prefix, p_description, coalesce(p_color, '#6B7280'), p_icon,
    registry.merge_metadata('{}', p_metadata))
  returning * into v_type;
  return v_type;
end
$$;
comment on function registry.create_worktree_type is 'Adds a worktree type; a taken name is refused.';

create function registry.delete_worktree_type(p_name text) returns registry.worktree_types
language plpgsql security definer
set search_path = ''
as $$
declare
  v_id int := registry.type_id(p_name);
  v_type registry.worktree_types;
  v_used bigint;
begin
  select * into v_type from registry.worktree_types where id = v_id for update;
  if v_type.is_builtin then
    perform registry.refuse('BUILTIN', format('The built-in worktree type %L cannot be deleted.', p_name));
  end if;
  select count(*) into v_used from registry.worktrees where type_id = v_id;
  if v_used > 0 then
    perform registry.refuse('IN_USE', format('%s worktrees have the type %L: give them another first.', v_used, p_name),
      jsonb_build_object('worktrees', v_used));
  end if;
  delete from registry.worktree_types where id = v_id;
  return v_type;
end
$$;
comment on function registry.delete_worktree_type is 'Removes a worktree type that is neither built in nor in use.';
