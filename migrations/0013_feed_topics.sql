-- Why: what goes into the log. One statement-level trigger per table and operation, so that a statement that changes a
-- thousand rows writes its thousand events at once; whoever writes, by whatever client, is logged.
-- Locks: the watched tables briefly, for their triggers.

-- The signal that carried ids is replaced by the log.
drop trigger worktrees_notify_insert on registry.worktrees;
drop trigger worktrees_notify_update on registry.worktrees;
drop trigger worktrees_notify_delete on registry.worktrees;
drop function registry.on_worktrees_changed();

-- Every function below runs as the owner: who writes a watched row need not have a right to the log. They call nothing of
-- ours, because each call of a function with a pinned search path costs a tenth of what the log's row costs; hence the same
-- few lines in each. Commits with a NOTIFY queue on one lock of the whole cluster, so a gateway sets feed.notify to
-- after_commit and rings once for many commits; whoever sets nothing notifies in the transaction. feed.depth says how many
-- scripts stand between this change and one that somebody made.

-- A TRUNCATE has no transition tables: it becomes a DELETE first, whose triggers see each row.
create function feed.on_truncate() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
  execute format('delete from %I.%I', tg_table_schema, tg_table_name);
  return null;
end
$$;

-- ---- worktrees -------------------------------------------------------------------------------------------------------

create function feed.on_worktrees() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'worktrees', 'insert', n.id, n.project_id, v_principal, n.agent_id,
      jsonb_build_object('name', n.name, 'version', (extract(epoch from n.updated_at) * 1000000)::bigint, 'after', jsonb_build_object('project_id', n.project_id, 'status', n.status, 'in_flight', n.in_flight, 'active', n.active, 'agent_id', n.agent_id, 'agent_state', n.agent_state)), v_depth
    from new_rows n;
  elsif tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'worktrees', 'delete', o.id, o.project_id, v_principal, o.agent_id,
      jsonb_build_object('name', o.name, 'before', jsonb_build_object('project_id', o.project_id, 'status', o.status, 'in_flight', o.in_flight, 'active', o.active, 'agent_id', o.agent_id, 'agent_state', o.agent_state)), v_depth
    from old_rows o;
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, changed, data, depth)
    select 'worktrees', 'update', n.id, n.project_id, v_principal, n.agent_id,
      array_remove(array[
        case when n.project_id is distinct from o.project_id then 'project_id' end,
        case when n.host_id is distinct from o.host_id then 'host_id' end,
        case when n.type_id is distinct from o.type_id then 'type_id' end,
        case when n.name is distinct from o.name then 'name' end,
        case when n.branch_name is distinct from o.branch_name then 'branch_name' end,
        case when n.base_branch is distinct from o.base_branch then 'base_branch' end,
        case when n.path is distinct from o.path then 'path' end,
        case when n.repository_path is distinct from o.repository_path then 'repository_path' end,
        case when n.agent_id is distinct from o.agent_id then 'agent_id' end,
        case when n.agent_state is distinct from o.agent_state then 'agent_state' end,
        case when n.agent_state_at is distinct from o.agent_state_at then 'agent_state_at' end,
        case when n.has_uncommitted_changes is distinct from o.has_uncommitted_changes then 'has_uncommitted_changes' end,
        case when n.uncommitted_files_count is distinct from o.uncommitted_files_count then 'uncommitted_files_count' end,
        case when n.ahead_of_trunk is distinct from o.ahead_of_trunk then 'ahead_of_trunk' end,
        case when n.behind_trunk is distinct from o.behind_trunk then 'behind_trunk' end,
        case when n.head_commit is distinct from o.head_commit then 'head_commit' end,
        case when n.merge_base is distinct from o.merge_base then 'merge_base' end,
        case when n.last_commit_message is distinct from o.last_commit_message then 'last_commit_message' end,
        case when n.last_commit_at is distinct from o.last_commit_at then 'last_commit_at' end,
        case when n.last_sync_at is distinct from o.last_sync_at then 'last_sync_at' end,
        case when n.merged_at is distinct from o.merged_at then 'merged_at' end,
        case when n.merged_by is distinct from o.merged_by then 'merged_by' end,
        case when n.merge_commit is distinct from o.merge_commit then 'merge_commit' end,
        case when n.metadata is distinct from o.metadata then 'metadata' end,
        case when n.active is distinct from o.active then 'active' end,
        case when n.in_flight is distinct from o.in_flight then 'in_flight' end,
        case when n.status is distinct from o.status then 'status' end
      ], null),
      jsonb_build_object('name', n.name, 'version', (extract(epoch from n.updated_at) * 1000000)::bigint,
        'before', jsonb_build_object('project_id', o.project_id, 'status', o.status, 'in_flight', o.in_flight, 'active', o.active, 'agent_id', o.agent_id, 'agent_state', o.agent_state),
        'after', jsonb_build_object('project_id', n.project_id, 'status', n.status, 'in_flight', n.in_flight, 'active', n.active, 'agent_id', n.agent_id, 'agent_state', n.agent_state)), v_depth
    from new_rows n join old_rows o on o.id = n.id
    -- updated_at moves with everything that shows. A heartbeat moves last_sync_at alone, and is news once a minute.
    where n.updated_at is distinct from o.updated_at or (
      n.last_sync_at is distinct from o.last_sync_at
      and (o.last_sync_at is null or n.last_sync_at is null or abs(extract(epoch from n.last_sync_at - o.last_sync_at)) >= 60)
    );
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_worktrees_insert after insert on registry.worktrees
  referencing new table as new_rows for each statement execute function feed.on_worktrees();
create trigger feed_worktrees_update after update on registry.worktrees
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_worktrees();
create trigger feed_worktrees_delete after delete on registry.worktrees
  referencing old table as old_rows for each statement execute function feed.on_worktrees();
create trigger feed_worktrees_truncate before truncate on registry.worktrees
  for each statement execute function feed.on_truncate();

-- Files are part of their worktree: one event for each worktree whose files a statement changed.
create function feed.on_worktree_files() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, changed, data, depth)
    select 'worktrees', 'update', w.id, w.project_id, v_principal, w.agent_id, '{changed_files}',
      jsonb_build_object('name', w.name), v_depth
    -- Not of those that go with their worktree: its own event says so.
    from registry.worktrees w where w.id in (select o.worktree_id from old_rows o);
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, changed, data, depth)
    select 'worktrees', 'update', w.id, w.project_id, v_principal, w.agent_id, '{changed_files}',
      jsonb_build_object('name', w.name), v_depth
    from registry.worktrees w where w.id in (select n.worktree_id from new_rows n);
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_worktree_files_insert after insert on registry.worktree_files
  referencing new table as new_rows for each statement execute function feed.on_worktree_files();
create trigger feed_worktree_files_update after update on registry.worktree_files
  referencing new table as new_rows for each statement execute function feed.on_worktree_files();
create trigger feed_worktree_files_delete after delete on registry.worktree_files
  referencing old table as old_rows for each statement execute function feed.on_worktree_files();
create trigger feed_worktree_files_truncate before truncate on registry.worktree_files
  for each statement execute function feed.on_truncate();

-- ---- claims ----------------------------------------------------------------------------------------------------------

-- Why a claim changed. What expired and was not yet noticed when its row is written again had lapsed.
create function feed.claim_reason(p_old registry.worktree_claims, p_new registry.worktree_claims) returns text
language sql volatile
as $$
  select case
    when p_new.worktree_id is null then 'deleted'
    when p_new.agent_id is null then case
      when p_old.agent_id is null then null
      when p_old.expires_at <= clock_timestamp() then 'lapsed'
      else 'released'
    end
    when p_old.agent_id is null then 'acquired'
    when p_new.fence is distinct from p_old.fence then case
      when p_old.expires_at <= p_new.acquired_at then 'acquired'
      else 'taken_over'
    end
    -- A heartbeat is news once a minute.
    when p_new.renewed_at >= p_old.renewed_at + interval '1 minute' then 'renewed'
    -- Whoever waits for the lapse must not wait too long.
    when p_new.expires_at < p_old.expires_at then 'renewed'
  end
$$;

create function feed.claim_facts(p_row registry.worktree_claims) returns jsonb
language sql immutable
as $$
  select jsonb_build_object('agent_id', p_row.agent_id, 'session', p_row.session, 'fence', p_row.fence, 'expires_at', p_row.expires_at)
$$;

create function feed.on_claims() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'claims', 'insert', n.worktree_id, w.project_id, v_principal, n.agent_id,
      jsonb_build_object('reason', 'acquired', 'has_uncommitted_changes', w.has_uncommitted_changes, 'after', feed.claim_facts(n)), v_depth
    from new_rows n join registry.worktrees w on w.id = n.worktree_id
    where n.agent_id is not null;
  elsif tg_op = 'DELETE' then
    -- With its worktree, mostly, which is gone by now: whoever watches a project hears of that.
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'claims', 'delete', o.worktree_id, w.project_id, v_principal, o.agent_id,
      jsonb_build_object('reason', 'deleted', 'has_uncommitted_changes', w.has_uncommitted_changes, 'before', feed.claim_facts(o)), v_depth
    from old_rows o left join registry.worktrees w on w.id = o.worktree_id
    where o.agent_id is not null;
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, changed, data, depth)
    select 'claims', 'update', n.worktree_id, w.project_id, v_principal, coalesce(n.agent_id, o.agent_id),
      array_remove(array[
        case when n.agent_id is distinct from o.agent_id then 'agent_id' end,
        case when n.session is distinct from o.session then 'session' end,
        case when n.fence is distinct from o.fence then 'fence' end,
        case when n.acquired_at is distinct from o.acquired_at then 'acquired_at' end,
        case when n.renewed_at is distinct from o.renewed_at then 'renewed_at' end,
        case when n.expires_at is distinct from o.expires_at then 'expires_at' end
      ], null),
      jsonb_build_object('reason', feed.claim_reason(o, n), 'has_uncommitted_changes', w.has_uncommitted_changes,
        'before', feed.claim_facts(o), 'after', feed.claim_facts(n)), v_depth
    from new_rows n join old_rows o on o.worktree_id = n.worktree_id join registry.worktrees w on w.id = n.worktree_id
    where feed.claim_reason(o, n) is not null;
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_claims_insert after insert on registry.worktree_claims
  referencing new table as new_rows for each statement execute function feed.on_claims();
create trigger feed_claims_update after update on registry.worktree_claims
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_claims();
create trigger feed_claims_delete after delete on registry.worktree_claims
  referencing old table as old_rows for each statement execute function feed.on_claims();
create trigger feed_claims_truncate before truncate on registry.worktree_claims
  for each statement execute function feed.on_truncate();

-- A lapse is nobody's write: whoever notices it first makes it one. The fence stays, so reports of the last holder pass
-- until somebody else claims.
create index idx_worktree_claims_expires_at on registry.worktree_claims (expires_at) where agent_id is not null;

create function registry.lapse_claims() returns table (lapsed int, next_at timestamptz)
language plpgsql security definer
set search_path = ''
as $$
begin
  -- What somebody is at just now is theirs to end; and who waits for nothing takes part in no deadlock.
  with due as (
    select c.worktree_id from registry.worktree_claims c
    where c.agent_id is not null and c.expires_at <= clock_timestamp()
    order by c.worktree_id for update skip locked
  )
  update registry.worktree_claims c set agent_id = null, session = null
  from due where due.worktree_id = c.worktree_id;
  get diagnostics lapsed = row_count;
  -- What was skipped is over already: the caller comes back for it.
  next_at := (select min(c.expires_at) from registry.worktree_claims c where c.agent_id is not null and isfinite(c.expires_at));
  return next;
end
$$;
comment on function registry.lapse_claims is
  'Ends the claims whose time is over, each exactly once however many gateways call it; answers how many, and when the next is due.';
revoke execute on function registry.lapse_claims from public;

create or replace function registry.claim_worktree(
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
  if v_claim.agent_id is not null and v_claim.expires_at <= v_now then
    -- It lapsed and nobody noticed yet: that is an event before this one.
    update registry.worktree_claims set agent_id = null, session = null where worktree_id = p_worktree_id returning * into v_claim;
  end if;
  if v_claim.agent_id is not null
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
  elsif v_claim.agent_id = p_agent_id and v_claim.session is not distinct from p_session then
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

-- ---- projects --------------------------------------------------------------------------------------------------------

create function feed.project_facts(p_row registry.projects) returns jsonb
language sql immutable
as $$
  select jsonb_build_object('slug', p_row.slug, 'name', p_row.name, 'status', p_row.status, 'active', p_row.active, 'kinds', p_row.kinds,
    'managed_by', p_row.managed_by, 'unclassified', p_row.unclassified)
$$;

create function feed.on_projects() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
    select 'projects', 'insert', n.id, n.id, v_principal, jsonb_build_object('after', feed.project_facts(n)), v_depth from new_rows n;
  elsif tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
    select 'projects', 'delete', o.id, o.id, v_principal, jsonb_build_object('before', feed.project_facts(o)), v_depth from old_rows o;
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, changed, data, depth)
    select 'projects', 'update', n.id, n.id, v_principal,
      array_remove(array[
        case when n.slug is distinct from o.slug then 'slug' end,
        case when n.name is distinct from o.name then 'name' end,
        case when n.description is distinct from o.description then 'description' end,
        case when n.kinds is distinct from o.kinds then 'kinds' end,
        case when n.status is distinct from o.status then 'status' end,
        case when n.active is distinct from o.active then 'active' end,
        case when n.remote_origin is distinct from o.remote_origin then 'remote_origin' end,
        case when n.remote_key is distinct from o.remote_key then 'remote_key' end,
        case when n.default_branch is distinct from o.default_branch then 'default_branch' end,
        case when n.trunk_path is distinct from o.trunk_path then 'trunk_path' end,
        case when n.url_id is distinct from o.url_id then 'url_id' end,
        case when n.owner_id is distinct from o.owner_id then 'owner_id' end,
        case when n.managed_by is distinct from o.managed_by then 'managed_by' end,
        case when n.unclassified is distinct from o.unclassified then 'unclassified' end,
        case when n.metadata is distinct from o.metadata then 'metadata' end,
        case when n.deleted_at is distinct from o.deleted_at then 'deleted_at' end
      ], null),
      jsonb_build_object('before', feed.project_facts(o), 'after', feed.project_facts(n)), v_depth
    from new_rows n join old_rows o on o.id = n.id
    where n.updated_at is distinct from o.updated_at;
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_projects_insert after insert on registry.projects
  referencing new table as new_rows for each statement execute function feed.on_projects();
create trigger feed_projects_update after update on registry.projects
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_projects();
create trigger feed_projects_delete after delete on registry.projects
  referencing old table as old_rows for each statement execute function feed.on_projects();
create trigger feed_projects_truncate before truncate on registry.projects
  for each statement execute function feed.on_truncate();

-- What hangs on a project is part of it; TG_ARGV[0] names the part. One event per project and statement.
create function feed.on_project_part() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, changed, data, depth)
    select 'projects', 'update', p.id, p.id, v_principal, array[tg_argv[0]],
      jsonb_build_object('before', feed.project_facts(p), 'after', feed.project_facts(p)), v_depth
    from registry.projects p where p.id in (select n.project_id from new_rows n);
  elsif tg_op = 'DELETE' then
    -- Not of what goes with its project: the project's own event says so.
    insert into feed.events (topic, op, entity_id, project_id, principal_id, changed, data, depth)
    select 'projects', 'update', p.id, p.id, v_principal, array[tg_argv[0]],
      jsonb_build_object('before', feed.project_facts(p), 'after', feed.project_facts(p)), v_depth
    from registry.projects p where p.id in (select o.project_id from old_rows o);
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, changed, data, depth)
    select 'projects', 'update', p.id, p.id, v_principal, array[tg_argv[0]],
      jsonb_build_object('before', feed.project_facts(p), 'after', feed.project_facts(p)), v_depth
    from registry.projects p
    where p.id in (
      (select changed.project_id from (select n.* from new_rows n except all select o.* from old_rows o) changed)
      union
      (select changed.project_id from (select o.* from old_rows o except all select n.* from new_rows n) changed)
    );
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
do $$
declare
  v_part record;
begin
  for v_part in
    select * from (values
      ('registry.project_parents', 'parents'), ('registry.project_links', 'links'), ('registry.project_checkouts', 'checkouts'),
      ('auth.project_members', 'members')
    ) as part (watched, name)
  loop
    execute format('create trigger feed_%s_insert after insert on %s referencing new table as new_rows
      for each statement execute function feed.on_project_part(%L)', v_part.name, v_part.watched, v_part.name);
    execute format('create trigger feed_%s_update after update on %s referencing new table as new_rows old table as old_rows
      for each statement execute function feed.on_project_part(%L)', v_part.name, v_part.watched, v_part.name);
    execute format('create trigger feed_%s_delete after delete on %s referencing old table as old_rows
      for each statement execute function feed.on_project_part(%L)', v_part.name, v_part.watched, v_part.name);
    execute format('create trigger feed_%s_truncate before truncate on %s for each statement execute function feed.on_truncate()',
      v_part.name, v_part.watched);
  end loop;
end
$$;

-- ---- activities ------------------------------------------------------------------------------------------------------

-- Appended only; retention and what goes with a worktree are no events.
create function feed.on_activities() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
  select 'activities', 'insert', n.id,
      -- Not by a join: the events come in the order of the rows.
      (select w.project_id from registry.worktrees w where w.id = n.worktree_id), n.principal_id, n.agent_id,
    jsonb_build_object('worktree_id', n.worktree_id, 'type', n.activity_type, 'file_path', n.file_path, 'created_at', n.created_at),
    v_depth
  from new_rows n;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_activities_insert after insert on registry.agent_activities
  referencing new table as new_rows for each statement execute function feed.on_activities();

-- ---- hosts and worktree types ----------------------------------------------------------------------------------------

create function feed.on_hosts() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, principal_id, data, depth)
    select 'hosts', 'insert', n.id, v_principal, jsonb_build_object('after', jsonb_build_object('name', n.name)), v_depth
    from new_rows n;
  elsif tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, principal_id, data, depth)
    select 'hosts', 'delete', o.id, v_principal, jsonb_build_object('before', jsonb_build_object('name', o.name)), v_depth
    from old_rows o;
  else
    insert into feed.events (topic, op, entity_id, principal_id, changed, data, depth)
    select 'hosts', 'update', n.id, v_principal,
      array_remove(array[
        case when n.name is distinct from o.name then 'name' end,
        case when n.platform is distinct from o.platform then 'platform' end,
        case when n.labels is distinct from o.labels then 'labels' end,
        case when n.last_seen_at is distinct from o.last_seen_at then 'last_seen_at' end
      ], null),
      jsonb_build_object('before', jsonb_build_object('name', o.name), 'after', jsonb_build_object('name', n.name)), v_depth
    from new_rows n join old_rows o on o.id = n.id
    -- Seen again is news once a minute.
    where (n.name, n.platform, n.labels) is distinct from (o.name, o.platform, o.labels) or (
      n.last_seen_at is distinct from o.last_seen_at
      and (o.last_seen_at is null or n.last_seen_at is null or abs(extract(epoch from n.last_seen_at - o.last_seen_at)) >= 60)
    );
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_hosts_insert after insert on registry.hosts
  referencing new table as new_rows for each statement execute function feed.on_hosts();
create trigger feed_hosts_update after update on registry.hosts
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_hosts();
create trigger feed_hosts_delete after delete on registry.hosts
  referencing old table as old_rows for each statement execute function feed.on_hosts();
create trigger feed_hosts_truncate before truncate on registry.hosts
  for each statement execute function feed.on_truncate();

create function feed.on_worktree_types() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, principal_id, data, depth)
    select 'worktree_types', 'insert', n.id, v_principal, jsonb_build_object('after', jsonb_build_object('name', n.name)), v_depth
    from new_rows n;
  elsif tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, principal_id, data, depth)
    select 'worktree_types', 'delete', o.id, v_principal, jsonb_build_object('before', jsonb_build_object('name', o.name)), v_depth
    from old_rows o;
  else
    insert into feed.events (topic, op, entity_id, principal_id, changed, data, depth)
    select 'worktree_types', 'update', n.id, v_principal,
      array_remove(array[
        case when n.name is distinct from o.name then 'name' end,
        case when n.branch_prefix is distinct from o.branch_prefix then 'branch_prefix' end,
        case when n.worktree_prefix is distinct from o.worktree_prefix then 'worktree_prefix' end,
        case when n.description is distinct from o.description then 'description' end,
        case when n.color is distinct from o.color then 'color' end,
        case when n.icon is distinct from o.icon then 'icon' end,
        case when n.metadata is distinct from o.metadata then 'metadata' end
      ], null),
      jsonb_build_object('before', jsonb_build_object('name', o.name), 'after', jsonb_build_object('name', n.name)), v_depth
    from new_rows n join old_rows o on o.id = n.id
    where (n.*) is distinct from (o.*);
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_worktree_types_insert after insert on registry.worktree_types
  referencing new table as new_rows for each statement execute function feed.on_worktree_types();
create trigger feed_worktree_types_update after update on registry.worktree_types
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_worktree_types();
create trigger feed_worktree_types_delete after delete on registry.worktree_types
  referencing old table as old_rows for each statement execute function feed.on_worktree_types();
create trigger feed_worktree_types_truncate before truncate on registry.worktree_types
  for each statement execute function feed.on_truncate();

-- ---- rights ----------------------------------------------------------------------------------------------------------

-- For the gateways alone: whoever lost a right loses the connections that were opened with it. The kind of change only,
-- and no event for what takes nothing away (a new token, a token that was used).
create function feed.on_rights() returns trigger
language plpgsql security definer
set search_path = ''
as $$
declare
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'DELETE' and tg_table_name in ('tokens', 'principals') then
    insert into feed.events (topic, op, entity_id, depth) select tg_table_name, 'delete', o.id, v_depth from old_rows o;
  elsif tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, depth)
    select distinct 'principals', 'update', o.principal_id::text, v_depth from old_rows o;
  elsif tg_table_name = 'tokens' then
    insert into feed.events (topic, op, entity_id, depth)
    select 'tokens', 'update', n.id, v_depth from new_rows n join old_rows o on o.id = n.id
    where (n.principal_id, n.hash, n.scopes, n.expires_at, n.revoked_at)
      is distinct from (o.principal_id, o.hash, o.scopes, o.expires_at, o.revoked_at);
  else
    insert into feed.events (topic, op, entity_id, depth)
    select 'principals', 'update', n.id, v_depth from new_rows n join old_rows o on o.id = n.id
    where (n.scopes, n.disabled_at) is distinct from (o.scopes, o.disabled_at);
  end if;
  get diagnostics v_written = row_count;
  if v_written > 0 and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_tokens_update after update on auth.tokens
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_rights();
create trigger feed_tokens_delete after delete on auth.tokens
  referencing old table as old_rows for each statement execute function feed.on_rights();
create trigger feed_principals_update after update on auth.principals
  referencing new table as new_rows old table as old_rows for each statement execute function feed.on_rights();
create trigger feed_principals_delete after delete on auth.principals
  referencing old table as old_rows for each statement execute function feed.on_rights();
create trigger feed_space_members_delete after delete on auth.space_members
  referencing old table as old_rows for each statement execute function feed.on_rights();

revoke execute on all functions in schema feed from public;
grant execute on function feed.read, feed.is_retained, feed.health to treeline_runtime;

update registry.metadata set value = '1.1.0' where key = 'schema_version';
