-- Why: what is told of a claim is told to people, in chats for instance: they know a worktree by its name.
-- Locks: the function's row in the catalogue.

create or replace function feed.on_claims() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_principal uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_written bigint;
begin
  if tg_op = 'INSERT' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'claims', 'insert', n.worktree_id, w.project_id, v_principal, n.agent_id,
      jsonb_build_object('reason', 'acquired', 'name', w.name, 'has_uncommitted_changes', w.has_uncommitted_changes, 'after', feed.claim_facts(n)), v_depth
    from new_rows n join registry.worktrees w on w.id = n.worktree_id
    where n.agent_id is not null;
  elsif tg_op = 'DELETE' then
    -- With its worktree, mostly, which is gone by now: whoever watches a project hears of that.
    insert into feed.events (topic, op, entity_id, project_id, principal_id, agent_id, data, depth)
    select 'claims', 'delete', o.worktree_id, w.project_id, v_principal, o.agent_id,
      jsonb_build_object('reason', 'deleted', 'name', w.name, 'has_uncommitted_changes', w.has_uncommitted_changes, 'before', feed.claim_facts(o)), v_depth
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
      jsonb_build_object('reason', feed.claim_reason(o, n), 'name', w.name, 'has_uncommitted_changes', w.has_uncommitted_changes,
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
