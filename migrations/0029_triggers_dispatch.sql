-- Why: what dispatchers do with the outbox: claim rows with a lease, say how each attempt ended, take back what a dead worker
-- had; and what becomes of results that somebody waits for.
-- Locks: nothing but the new objects. At run time rows are claimed with SKIP LOCKED; whoever needs several kinds of rows locks
-- those of the outbox first, by id, then replies, then the rest.

-- ---- claiming --------------------------------------------------------------------------------------------------------

-- A lane as a worker has room in it: how many rows at most, how many of one registrant, and fewer of those that lefts names,
-- an object from a registrant's id to how many more of it there may be.
create type triggers.room as (lane text, most int, most_each int, lefts jsonb);

-- Whose rows wait in each lane, since when or until when the first of them, and how many more of that registrant there may be. From
-- one registrant to the next by the index, however many rows of each there are.
create function triggers.in_line(p_rooms triggers.room[])
returns table (lane text, most int, principal_id uuid, due_at timestamptz, left_of_it int)
language sql stable
as $$
  with recursive waiting as (
    select r.lane, r.most, r.most_each, r.lefts, first.principal_id, first.due_at
    from pg_catalog.unnest(p_rooms) r cross join lateral (
      select o.principal_id, o.due_at from triggers.outbox o
      where o.lane operator(pg_catalog.=) r.lane and o.claimed_by is null order by o.principal_id, o.due_at limit 1
    ) first
    where r.most operator(pg_catalog.>) 0
    union all
    select w.lane, w.most, w.most_each, w.lefts, next.principal_id, next.due_at
    from waiting w cross join lateral (
      select o.principal_id, o.due_at from triggers.outbox o
      where o.lane operator(pg_catalog.=) w.lane and o.claimed_by is null and o.principal_id operator(pg_catalog.>) w.principal_id
      order by o.principal_id, o.due_at limit 1
    ) next
  )
  select w.lane, w.most, w.principal_id, w.due_at,
    coalesce((w.lefts operator(pg_catalog.->>) w.principal_id::text)::pg_catalog.int4, w.most_each)
  from waiting w
$$;

create function triggers.claim(p_worker text, p_lease_ms int, p_rooms triggers.room[], p_most_bytes bigint)
returns table (
  id uuid, execution_id uuid, message_id uuid, source_kind text, lane text, payload jsonb, payload_bytes int, depth int, attempt int, late_ms double precision,
  script_id uuid, kind text, document text, variables jsonb, url text, secret text, headers jsonb, timeout_ms int, script_deleted boolean,
  principal_id uuid, principal_kind text, handle text, scopes text[], space_ids text[], disabled boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
#variable_conflict use_column
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
begin
  return query
  with sharing as materialized (
    -- Where there are more of them than there is room for, those who have waited longest.
    select w.lane, w.most, w.principal_id, least(w.left_of_it, ceil(w.most::numeric / w.registrants))::int as share
    from (
      select q.*, count(*) over (partition by q.lane) as registrants, row_number() over (partition by q.lane order by q.due_at) as turn
      from triggers.in_line(p_rooms) q where q.left_of_it > 0 and q.due_at <= v_now
    ) w where w.turn <= w.most
  ), due as materialized (
    select s.lane, s.most, o.place, o.payload_bytes, o.due_at, o.turn
    from sharing s
    cross join lateral (
      select l.place, l.payload_bytes, l.due_at, row_number() over (order by l.due_at) as turn
      from (
        select o.ctid as place, o.payload_bytes, o.due_at from triggers.outbox o
        where o.lane = s.lane and o.principal_id = s.principal_id and o.claimed_by is null and o.due_at <= v_now
        order by o.due_at limit s.share for update skip locked
      ) l
    ) o
  ), fitting as (
    -- The first of each before the second of anybody: shares are rounded up.
    select f.place, f.payload_bytes, f.due_at
    from (select d.*, row_number() over (partition by d.lane order by d.turn, d.due_at) as nth from due d) f where f.nth <= f.most
  ), light as (
    -- As much as may be held at once, and at least one.
    select w.place from (
      select f.place, sum(f.payload_bytes) over (order by f.due_at rows between unbounded preceding and 1 preceding) as before from fitting f
    ) w where coalesce(w.before, 0) < p_most_bytes
  ), claimed as (
    update triggers.outbox o set claimed_by = p_worker, claim_expires_at = v_now + make_interval(secs => p_lease_ms / 1000.0),
      execution_id = gen_random_uuid(), attempt = o.attempt + 1
    -- By place, which is fixed once it is locked: whatever the table was like when this was planned, nothing else is looked at.
    where o.ctid = any (array(select l.place from light l))
    returning o.id, o.execution_id, o.message_id, o.project_id, o.source_kind, o.trigger_id, o.script_id, o.principal_id, o.scopes,
      o.lane, o.payload, o.payload_bytes, o.depth, o.attempt, o.due_at
  ), begun as (
    insert into triggers.executions (id, outbox_id, project_id, source_kind, trigger_id, script_id, principal_id, attempt, worker)
    select c.execution_id, c.id, c.project_id, c.source_kind, c.trigger_id, c.script_id, c.principal_id, c.attempt, p_worker from claimed c
  ), who as materialized (
    select p.id, p.kind, p.handle, p.scopes, p.disabled_at is not null as disabled,
      array(select m.space_id from auth.space_members m where m.principal_id = p.id order by m.space_id) as space_ids
    from auth.principals p where p.id in (select c.principal_id from claimed c)
  )
  select c.id, c.execution_id, c.message_id, c.source_kind, c.lane, c.payload, c.payload_bytes, c.depth::int, c.attempt,
    (extract(epoch from v_now - c.due_at) * 1000)::double precision,
    c.script_id, s.kind, s.document, s.variables, s.url, s.secret, s.headers, s.timeout_ms, s.id is null or s.deleted_at is not null,
    w.id, w.kind, w.handle, array(select unnest(c.scopes) intersect select unnest(w.scopes)), w.space_ids, w.disabled
  from claimed c join who w on w.id = c.principal_id left join triggers.scripts s on s.id = c.script_id
  order by c.due_at;
end
$$;
comment on function triggers.claim is
  'Takes due rows of the outbox for a worker, as far as it has room, of each registrant its share, and begins an execution of each. '
  'Others leave them alone until the lease ends.';

create function triggers.renew_claims(p_worker text, p_execution_ids uuid[], p_lease_ms int) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
  v_renewed int;
begin
  -- Only what the worker knows of: a claim whose answer was lost has to end. And most are done long before: only what has used a
  -- good part of its lease.
  update triggers.outbox o set claim_expires_at = v_now + make_interval(secs => p_lease_ms / 1000.0)
  from (
    select o.id from triggers.outbox o
    where o.claimed_by = p_worker and o.execution_id = any (p_execution_ids) and o.claim_expires_at < v_now + make_interval(secs => p_lease_ms * 0.7 / 1000.0)
    order by o.id for update skip locked
  ) mine
  where mine.id = o.id;
  get diagnostics v_renewed = row_count;
  return v_renewed;
end
$$;
comment on function triggers.renew_claims is 'Lengthens the leases of what a worker says that it is at.';

create function triggers.next_due(p_rooms triggers.room[]) returns double precision
language sql
set search_path = pg_catalog, pg_temp
as $$
  select extract(epoch from min(q.due_at) - clock_timestamp()) * 1000 from triggers.in_line(p_rooms) q where q.left_of_it > 0
$$;
comment on function triggers.next_due is
  'In how many ms something will be due for which there is room, negative where something is; null: nothing of that kind waits.';

create function triggers.next_expiry() returns double precision
language sql
set search_path = pg_catalog, pg_temp
as $$
  -- Not by min: on old statistics it is planned as a walk through all that waits.
  select extract(epoch from (
    select o.claim_expires_at from triggers.outbox o where o.claimed_by is not null order by o.claim_expires_at limit 1
  ) - clock_timestamp()) * 1000
$$;
comment on function triggers.next_expiry is 'In how many ms the first lease ends; null: nothing is claimed.';

-- ---- how attempts end ------------------------------------------------------------------------------------------------

-- After the n-th failure: base * 2^(n-1), base * n, or base; at most an hour, give or take a fifth.
create function triggers.backoff_ms(p_backoff text, p_base_ms int, p_failures int, p_random double precision) returns double precision
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select least(3600000, (0.8 + 0.4 * p_random) * least(3600000, case p_backoff
    -- Beyond that it is more than an hour whatever the base.
    when 'exponential' then p_base_ms * power(2::double precision, least(p_failures - 1, 40))
    when 'linear' then p_base_ms::double precision * p_failures
    else p_base_ms::double precision
  end))
$$;
comment on function triggers.backoff_ms is 'How long what failed so many times is put off; p_random from 0 to 1.';

create function triggers.tell_executions(p_ids uuid[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into feed.events (topic, op, entity_id, project_id, user_id, data)
  select 'executions', 'update', e.id, e.project_id, e.principal_id,
    jsonb_build_object('status', e.status, 'trigger_id', e.trigger_id, 'script_id', e.script_id)
  from triggers.executions e where e.id = any (p_ids)
  order by e.finished_at, e.id
$$;

-- Whoever waited is told; where nobody does any more, it is kept where somebody finds it.
create function triggers.reply(p_execution_ids uuid[], p_reply_tos uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  with given as (
    select * from unnest(p_execution_ids, p_reply_tos) as g (execution_id, reply_to)
  ), waiting as (
    update triggers.replies r set execution_id = g.execution_id from given g where r.reply_to = g.reply_to returning r.reply_to
  )
  insert into triggers.abandoned_executions (reply_to, execution_id, project_id, script_id, principal_id, result, error)
  select g.reply_to, e.id, e.project_id, e.script_id, e.principal_id, e.result, e.error
  from given g join triggers.executions e on e.id = g.execution_id
  where g.reply_to not in (select w.reply_to from waiting w);
  -- Whoever sends by the specification repeats what failed, under the same id; by itself it is not tried again.
  delete from triggers.received_messages m
  using unnest(p_execution_ids, p_reply_tos) as g (execution_id, reply_to) join triggers.executions e on e.id = g.execution_id
  where m.reply_to = g.reply_to and e.status <> 'succeeded';
  perform pg_notify('treeline_replies', g::text) from unnest(p_reply_tos) g;
end
$$;

create function triggers.finish(p_worker text, p_results jsonb) returns table (finished int, put_off int, buried int)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
  v_ids uuid[];
  v_execution_ids uuid[];
  v_succeeded tid[];
  v_given_up uuid[];
  v_put_off uuid[];
  v_reply_tos uuid[];
  v_replied uuid[];
  v_letters uuid[];
  v_burials triggers.burial[];
begin
  -- What was taken back from this worker meanwhile is somebody else's: its late result changes nothing.
  with given as materialized (
    select r.id, r.execution_id, r.status, r.permanent
    from jsonb_to_recordset(p_results) as r (id uuid, execution_id uuid, status text, permanent boolean)
  ), ours as materialized (
    select o.ctid as place, o.id, o.execution_id, o.reply_to, o.dead_letter_id, g.status,
      coalesce(g.permanent, false) or o.reply_to is not null or o.failures + 1 >= o.retry_max_attempts as over
    from triggers.outbox o join given g on g.id = o.id and g.execution_id = o.execution_id
    where o.claimed_by = p_worker
    order by o.id for update of o
  )
  select array_agg(o.id), array_agg(o.execution_id), array_agg(o.place) filter (where o.status = 'succeeded'),
    array_agg(o.id) filter (where o.status <> 'succeeded' and o.over), array_agg(o.id) filter (where o.status <> 'succeeded' and not o.over),
    array_agg(o.reply_to) filter (where o.reply_to is not null), array_agg(o.execution_id) filter (where o.reply_to is not null),
    array_agg(o.dead_letter_id) filter (where o.dead_letter_id is not null)
  into v_ids, v_execution_ids, v_succeeded, v_given_up, v_put_off, v_reply_tos, v_replied, v_letters
  from ours o;
  if v_ids is null then
    return query select 0, 0, 0;
    return;
  end if;
  if v_letters is not null then
    perform triggers.lock_dead_letters(v_letters);
  end if;
  with ended as (
    update triggers.executions e set status = r.status, finished_at = v_now, result = nullif(r.result, 'null'), error = r.error
    from jsonb_to_recordset(p_results) as r (execution_id uuid, status text, result jsonb, error text)
    where e.id = r.execution_id and e.id = any (v_execution_ids)
    returning e.id, e.project_id, e.principal_id, e.status, e.trigger_id, e.script_id
  )
  insert into feed.events (topic, op, entity_id, project_id, user_id, data)
  select 'executions', 'update', e.id, e.project_id, e.principal_id,
    jsonb_build_object('status', e.status, 'trigger_id', e.trigger_id, 'script_id', e.script_id)
  from ended e;

  if v_put_off is not null then
    update triggers.outbox o set claimed_by = null, claim_expires_at = null, execution_id = null, failures = o.failures + 1,
      first_error = coalesce(o.first_error, r.error),
      due_at = v_now + make_interval(secs => greatest(
        triggers.backoff_ms(o.retry_backoff, o.retry_base_ms, o.failures + 1, random()),
        case when r.retry_after_ms is not null then least(r.retry_after_ms, 3600000) end) / 1000.0)
    from jsonb_to_recordset(p_results) as r (id uuid, error text, retry_after_ms double precision)
    where o.id = r.id and o.id = any (v_put_off);
  end if;

  if v_given_up is not null then
    with gone as (
      delete from triggers.outbox o using jsonb_to_recordset(p_results) as r (id uuid, error text)
      where o.id = r.id and o.id = any (v_given_up)
      returning o.message_id, o.project_id, o.source_kind, o.trigger_id, o.script_id, o.principal_id, o.scopes, o.payload, o.attempt,
        o.first_error, coalesce(r.error, 'It failed, and its worker did not say why.') as error, o.retry_max_attempts, o.retry_backoff, o.retry_base_ms, o.depth, o.dead_letter_id, o.reply_to, o.created_at
    ), failed as (
      update triggers.dead_letters d set resolution = 'handler_failed' from gone g where d.id = g.dead_letter_id and d.resolution is null
    )
    -- Whoever waited is told by the reply; what handles a dead letter makes no further one.
    select array_agg(row(g.message_id, g.project_id, g.source_kind, g.trigger_id, g.script_id, g.principal_id, g.scopes, g.payload, g.attempt,
      g.first_error, g.error, g.retry_max_attempts, g.retry_backoff, g.retry_base_ms, g.depth)::triggers.burial order by g.created_at, g.message_id)
      filter (where g.dead_letter_id is null and g.reply_to is null)
    into v_burials from gone g;
    if v_burials is not null then
      perform triggers.bury(v_burials);
    end if;
  end if;

  if v_succeeded is not null then
    with done as (
      delete from triggers.outbox o where o.ctid = any (v_succeeded) returning o.dead_letter_id
    )
    update triggers.dead_letters d set resolved_at = clock_timestamp(), resolution = 'handled_by_script'
    from done where d.id = done.dead_letter_id and d.resolved_at is null;
  end if;

  if v_replied is not null then
    perform triggers.reply(v_replied, v_reply_tos);
  end if;
  return query select cardinality(v_ids), coalesce(cardinality(v_put_off), 0), coalesce(cardinality(v_burials), 0);
end
$$;
comment on function triggers.finish is
  'How attempts of a worker ended: [{"id", "execution_id", "status", "result", "error", "permanent", "retry_after_ms"}]. What succeeded '
  'leaves the outbox, what failed is put off or becomes a dead letter.';

-- ---- what a dead worker had ------------------------------------------------------------------------------------------

create function triggers.reclaim(p_limit int) returns table (reclaimed int, buried int)
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
  -- A process that dies of what it runs dies of it again. That it was not even begun is likelier, so not at the first time.
  v_most_losses constant int := 10;
  v_ids uuid[];
  v_execution_ids uuid[];
  v_waited uuid[];
  v_reply_tos uuid[];
  v_replied uuid[];
  v_given_up uuid[];
  v_letters uuid[];
  v_burials triggers.burial[];
  v_error constant text := 'Its worker stopped answering while it was at it.';
begin
  select array_agg(l.id), array_agg(l.execution_id), array_agg(l.id) filter (where l.reply_to is not null),
    array_agg(l.reply_to) filter (where l.reply_to is not null), array_agg(l.execution_id) filter (where l.reply_to is not null),
    array_agg(l.id) filter (where l.reply_to is null and l.attempt - l.failures >= v_most_losses),
    array_agg(l.dead_letter_id) filter (where l.dead_letter_id is not null)
  into v_ids, v_execution_ids, v_waited, v_reply_tos, v_replied, v_given_up, v_letters
  from (
    select o.id, o.execution_id, o.reply_to, o.dead_letter_id, o.attempt, o.failures from triggers.outbox o
    where o.claimed_by is not null and o.claim_expires_at <= v_now
    order by o.claim_expires_at limit p_limit for update skip locked
  ) l;
  if v_ids is null then
    return query select 0, 0;
    return;
  end if;
  if v_letters is not null then
    perform triggers.lock_dead_letters(v_letters);
  end if;
  update triggers.executions e set status = 'lost', finished_at = clock_timestamp(), error = v_error where e.id = any (v_execution_ids);
  delete from triggers.outbox o where o.id = any (v_waited);
  if v_given_up is not null then
    with gone as (
      delete from triggers.outbox o where o.id = any (v_given_up)
      returning o.message_id, o.project_id, o.source_kind, o.trigger_id, o.script_id, o.principal_id, o.scopes, o.payload, o.attempt,
        o.first_error, o.retry_max_attempts, o.retry_backoff, o.retry_base_ms, o.depth, o.dead_letter_id, o.created_at
    ), failed as (
      update triggers.dead_letters d set resolution = 'handler_failed' from gone g where d.id = g.dead_letter_id and d.resolution is null
    )
    select array_agg(row(g.message_id, g.project_id, g.source_kind, g.trigger_id, g.script_id, g.principal_id, g.scopes, g.payload, g.attempt,
      g.first_error, format('%s workers stopped answering while they were at it.', v_most_losses), g.retry_max_attempts, g.retry_backoff,
      g.retry_base_ms, g.depth)::triggers.burial order by g.created_at, g.message_id) filter (where g.dead_letter_id is null)
    into v_burials from gone g;
    if v_burials is not null then
      perform triggers.bury(v_burials);
    end if;
  end if;
  update triggers.outbox o set claimed_by = null, claim_expires_at = null, execution_id = null where o.id = any (v_ids);
  perform triggers.tell_executions(v_execution_ids);
  if v_replied is not null then
    perform triggers.reply(v_replied, v_reply_tos);
  end if;
  perform pg_notify('treeline_outbox', '');
  return query select cardinality(v_ids), coalesce(cardinality(v_burials), 0);
end
$$;
comment on function triggers.reclaim is 'Takes back what workers had whose leases ended: their executions are lost, and others begin anew; but not what somebody waited for.';

create function triggers.let_go(p_worker text, p_execution_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
begin
  update triggers.outbox o set claim_expires_at = clock_timestamp()
  from (
    select o.id from triggers.outbox o
    where o.claimed_by = p_worker and o.execution_id = any (p_execution_ids) order by o.id for update
  ) mine
  where o.id = mine.id;
end
$$;
comment on function triggers.let_go is 'For a worker that goes away: the leases of what it could not end are over, and it is taken back as lost.';

-- A worker that goes away in order gives back what it has not begun.
create function triggers.give_back(p_worker text, p_ids uuid[]) returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_execution_ids uuid[];
begin
  with mine as materialized (
    select o.id, o.execution_id from triggers.outbox o where o.id = any (p_ids) and o.claimed_by = p_worker order by o.id for update
  ), free as (
    update triggers.outbox o set claimed_by = null, claim_expires_at = null, execution_id = null, attempt = o.attempt - 1
    from mine where o.id = mine.id
  )
  select array_agg(m.execution_id) into v_execution_ids from mine m;
  delete from triggers.executions e where e.id = any (v_execution_ids);
  if v_execution_ids is not null then
    perform pg_notify('treeline_outbox', '');
  end if;
  return coalesce(cardinality(v_execution_ids), 0);
end
$$;
comment on function triggers.give_back is 'For a worker that goes away: what it claimed and has not begun is anybody''s again, as if it had never been claimed.';

-- ---- who waits for a result ------------------------------------------------------------------------------------------

create function triggers.collect_reply(p_reply_to uuid)
returns table (execution_id uuid, status text, result jsonb, error text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
  with mine as (
    delete from triggers.replies r where r.reply_to = p_reply_to and r.execution_id is not null returning r.execution_id
  )
  select e.id, e.status, e.result, e.error from mine join triggers.executions e on e.id = mine.execution_id;
end
$$;
comment on function triggers.collect_reply is 'The result that somebody waits for, once it is there; no row: not yet.';

create function triggers.leave_reply(p_reply_to uuid) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_row triggers.outbox;
  v_reply triggers.replies;
begin
  select * into v_row from triggers.outbox o where o.reply_to = p_reply_to for update;
  delete from triggers.replies r where r.reply_to = p_reply_to returning * into v_reply;
  if v_reply.execution_id is not null then
    perform triggers.abandon(array[v_reply.execution_id], array[p_reply_to]);
    return 'finished';
  elsif v_row.id is not null and v_row.claimed_by is null then
    delete from triggers.outbox o where o.id = v_row.id;
    delete from triggers.received_messages m where m.reply_to = p_reply_to;
    return 'never begun';
  end if;
  return case when v_row.id is null then 'gone' else 'running' end;
end
$$;
comment on function triggers.leave_reply is
  'Whoever waited leaves: what was not begun is not run, what is finished is kept as abandoned, and what runs will be when it ends. '
  'Answers which of these it was: never begun, finished, running; or gone.';

create function triggers.abandon(p_execution_ids uuid[], p_reply_tos uuid[]) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
  insert into triggers.abandoned_executions (reply_to, execution_id, project_id, script_id, principal_id, result, error)
  select g.reply_to, e.id, e.project_id, e.script_id, e.principal_id, e.result, e.error
  from unnest(p_execution_ids, p_reply_tos) as g (execution_id, reply_to) join triggers.executions e on e.id = g.execution_id
$$;

-- Who waited in a gateway that died took nothing away.
create function triggers.sweep_replies() returns int
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
  v_count int;
  v_execution_ids uuid[];
  v_reply_tos uuid[];
begin
  delete from triggers.outbox o where o.claimed_by is null
    and o.reply_to = any (array(select r.reply_to from triggers.replies r where r.wait_until < v_now - interval '30 seconds'));
  with late as (
    select r.reply_to, r.execution_id from triggers.replies r
    where r.wait_until < v_now - interval '30 seconds' order by r.reply_to for update skip locked
  ), gone as (
    delete from triggers.replies r using late where r.reply_to = late.reply_to returning r.reply_to, r.execution_id
  ), forgotten as (
    -- The sender was told nothing.
    delete from triggers.received_messages m using gone g where m.reply_to = g.reply_to
  )
  select count(*), array_agg(g.execution_id) filter (where g.execution_id is not null),
    array_agg(g.reply_to) filter (where g.execution_id is not null)
  into v_count, v_execution_ids, v_reply_tos from gone g;
  perform triggers.abandon(v_execution_ids, v_reply_tos);
  return v_count;
end
$$;
comment on function triggers.sweep_replies is 'What nobody came for who should have by now is kept as abandoned.';

-- ---- what an operator asks -------------------------------------------------------------------------------------------

create function triggers.health()
returns table (due bigint, claimed bigint, waiting bigint, oldest_due_at timestamptz, unresolved_dead_letters bigint, untested bigint)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
  select count(*) filter (where o.claimed_by is null and o.due_at <= clock_timestamp()),
    count(*) filter (where o.claimed_by is not null),
    count(*) filter (where o.claimed_by is null and o.due_at > clock_timestamp()),
    min(o.due_at) filter (where o.claimed_by is null and o.due_at <= clock_timestamp()),
    (select count(*) from triggers.dead_letters d where d.resolved_at is null),
    (select count(*) from triggers.candidates)
  from triggers.outbox o
$$;
comment on function triggers.health is 'How much waits in the outbox of the whole fleet, since when, how many dead letters nobody has seen to, and of how much a condition is to be tested.';

-- ---- retention -------------------------------------------------------------------------------------------------------

create function triggers.drop_old(p_dead_letter_days int, p_abandoned_days int, p_execution_days int) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  -- Taken once: what may change from row to row is no condition for an index.
  v_now constant timestamptz := clock_timestamp();
  v_dropped bigint := 0;
  v_count bigint;
begin
  delete from triggers.dead_letters where resolved_at < v_now - make_interval(days => p_dead_letter_days);
  get diagnostics v_count = row_count;
  v_dropped := v_dropped + v_count;
  delete from triggers.abandoned_executions where created_at < v_now - make_interval(days => p_abandoned_days);
  get diagnostics v_count = row_count;
  v_dropped := v_dropped + v_count;
  delete from triggers.executions where status <> 'running' and started_at < v_now - make_interval(days => p_execution_days);
  get diagnostics v_count = row_count;
  v_dropped := v_dropped + v_count;
  delete from triggers.received_messages where received_at < v_now - interval '1 day';
  delete from triggers.scripts s where s.deleted_at is not null
    and not exists (select from triggers.outbox o where o.script_id = s.id)
    and not exists (select from triggers.executions e where e.script_id = s.id)
    and not exists (select from triggers.dead_letters d where d.script_id = s.id)
    and not exists (select from triggers.abandoned_executions a where a.script_id = s.id);
  return v_dropped;
end
$$;
comment on function triggers.drop_old is
  'Deletes what is older than so many days: dead letters from when they were resolved on, never unresolved ones; executions; and deleted '
  'scripts that nothing tells of any more.';

revoke execute on all functions in schema triggers from public;
grant execute on function triggers.glob_matches, triggers.save_script, triggers.delete_script,
  triggers.create_trigger, triggers.update_trigger, triggers.delete_trigger, triggers.save_route, triggers.delete_route,
  triggers.resolve_dead_letters, triggers.invoke, triggers.find_route, triggers.receive, triggers.collect_reply, triggers.leave_reply,
  triggers.health to treeline_runtime;

update registry.metadata set value = '1.5.0' where key = 'schema_version';
