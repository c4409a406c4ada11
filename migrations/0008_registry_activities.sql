-- Why: what agents did, as functions that psql users and the gateway share.
-- Locks: nothing but the new objects; the partitions are made while the table is empty.

create function registry.ensure_activity_partitions(p_months_back int default 0, p_months_ahead int default 1) returns int
language plpgsql security definer
set search_path = ''
as $$
declare
  v_month timestamptz;
  v_name text;
  v_made int := 0;
begin
  -- Two gateways that start at once would make the same partition.
  perform pg_advisory_xact_lock(hashtextextended('registry.activity_partitions', 0));
  for v_month in
    select generate_series(date_trunc('month', now() at time zone 'UTC') - make_interval(months => p_months_back),
      date_trunc('month', now() at time zone 'UTC') + make_interval(months => p_months_ahead), interval '1 month') at time zone 'UTC'
  loop
    v_name := 'agent_activities_' || to_char(v_month at time zone 'UTC', 'YYYY_MM');
    if to_regclass('registry.' || v_name) is null then
      execute format('create table registry.%I (like registry.agent_activities including defaults including constraints)', v_name);
      -- Rows that came before their month had a partition move in; the default partition may not keep them.
      perform set_config('registry.retention', 'on', true);
      execute format(
        'with moved as (delete from registry.agent_activities_default where created_at >= %L and created_at < %L returning *)
         insert into registry.%I select * from moved',
        v_month, ((v_month at time zone 'UTC') + interval '1 month') at time zone 'UTC', v_name);
      perform set_config('registry.retention', '', true);
      execute format('alter table registry.agent_activities attach partition registry.%I for values from (%L) to (%L)',
        v_name, v_month, ((v_month at time zone 'UTC') + interval '1 month') at time zone 'UTC');
      v_made := v_made + 1;
    end if;
  end loop;
  return v_made;
end
$$;
comment on function registry.ensure_activity_partitions is 'Makes the monthly partitions around now that are missing; returns how many.';
revoke execute on function registry.ensure_activity_partitions from public;

select registry.ensure_activity_partitions();

create function registry.log_activities(p_activities jsonb)
returns table (index int, id uuid, created_at timestamptz, code text, message text)
language plpgsql security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if jsonb_array_length(p_activities) > 500 then
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('Expected at most 500 activities at once, got %s.', jsonb_array_length(p_activities)),
      jsonb_build_object('limit', 500));
  end if;
  return query
  with item as (
    select (ordinality - 1)::int as index, value, registry.find_worktree(value -> 'worktree') as worktree_id,
      (value ->> 'id')::uuid as given_id, (value ->> 'createdAt')::timestamptz as given_at
    from jsonb_array_elements(p_activities) with ordinality
  ), checked as (
    select item.*, case
      when worktree_id is null then 'NOT_FOUND'
      when btrim(coalesce(value ->> 'agentId', '')) = '' or octet_length(value ->> 'agentId') > 500 then 'INVALID'
      when coalesce(value ->> 'type', '') not in ('created', 'modified', 'deleted', 'committed', 'pushed', 'merged', 'synced', 'other') then 'INVALID'
      when value ->> 'description' is null or octet_length(value ->> 'description') > 20000 then 'INVALID'
      when jsonb_typeof(value -> 'metadata') not in ('object', 'null') then 'INVALID'
      when (given_id is null) <> (given_at is null) then 'INVALID'
      when given_at > clock_timestamp() + interval '5 minutes' or given_at < clock_timestamp() - interval '90 days' then 'INVALID'
    end as code
    from item
  ), chosen as materialized (
    -- Ids are chosen here, not by the column's default, so that the answer can name them in the order asked for.
    select c.index, c.value, c.worktree_id, c.code, c.given_at, c.given_id,
      coalesce(c.given_id, gen_random_uuid()) as id, coalesce(c.given_at, clock_timestamp()) as created_at
    from checked c
  ), inserted as (
    insert into registry.agent_activities (id, agent_id, worktree_id, principal_id, activity_type, file_path, description, metadata, created_at)
    select c.id, c.value ->> 'agentId', c.worktree_id, auth.current_principal_id(), c.value ->> 'type', c.value ->> 'filePath',
      c.value ->> 'description', coalesce(nullif(c.value -> 'metadata', 'null'), '{}'), c.created_at
    from chosen c where c.code is null
    -- A batch that is sent again is the same batch.
    on conflict on constraint agent_activities_pkey do nothing
  )
  select c.index, case when c.code is null then c.id end, case when c.code is null then c.created_at end, c.code, case
    when c.code = 'NOT_FOUND' then registry.describe_worktree(c.value -> 'worktree')
    when c.code is null then null
    when (c.given_id is null) <> (c.given_at is null) then 'An id of the client''s own comes together with its createdAt.'
    when c.given_at is not null and (c.given_at > clock_timestamp() + interval '5 minutes' or c.given_at < clock_timestamp() - interval '90 days') then
      format('Expected createdAt within the last 90 days and at most 5 minutes ahead, got %s.', c.given_at)
    else 'Expected an agent, a known type, a description of at most 20,000 bytes and metadata as an object.'
  end
  from chosen c order by c.index;
end
$$;
comment on function registry.log_activities is
  'Logs up to 500 activities in one statement; each item answers with its id or with a refusal. Items: agentId, worktree (a '
  'reference), type, description, filePath, metadata, id and createdAt.';

create function registry.log_activity(
  p_agent_id text, p_worktree_id uuid, p_activity_type text, p_description text, p_file_path text default null,
  p_metadata jsonb default '{}'
) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
  v_result record;
begin
  select * into v_result from registry.log_activities(jsonb_build_array(jsonb_build_object(
    'agentId', p_agent_id, 'worktree', jsonb_build_object('id', p_worktree_id), 'type', p_activity_type,
    'description', p_description, 'filePath', p_file_path, 'metadata', p_metadata)));
  if v_result.code is not null then
    perform registry.refuse(v_result.code, v_result.message);
  end if;
  return v_result.id;
end
$$;
comment on function registry.log_activity is 'Logs what an agent did in a worktree; returns the activity''s id.';
