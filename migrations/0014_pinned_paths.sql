-- Why: a function that runs as the owner must not find anything that its caller made. With an empty search path PostgreSQL
-- still looks for types in the caller's temporary schema first: a domain named uuid there ran its caller's code as the
-- owner. Named last, the temporary schema is looked at last.
-- Locks: the functions' rows in the catalogue, briefly.

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace in ('auth'::regnamespace, 'registry'::regnamespace, 'feed'::regnamespace)
      and p.proconfig && array['search_path=""', 'search_path=']
  loop
    execute format('alter function %s set search_path = pg_catalog, pg_temp', v_function);
  end loop;
end
$$;

-- Nor has request work any use for temporary objects.
do $$
begin
  if (select pg_has_role(current_user, datdba, 'USAGE') from pg_catalog.pg_database where datname = current_database()) then
    execute format('revoke temporary on database %I from public', current_database());
  end if;
end
$$;

-- Rows that come in while a month gets its partition would belong to both.
create or replace function registry.ensure_activity_partitions(p_months_back int default 0, p_months_ahead int default 1) returns int
language plpgsql security definer
set search_path = pg_catalog, pg_temp
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
      lock table registry.agent_activities_default in access exclusive mode;
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
