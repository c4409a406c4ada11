-- Why: what must happen by itself when something changes, when the clock says so, when a request comes in or when a delivery
-- failed for good: scripts, what sets them off, the outbox that everything asynchronous goes through, what came of each
-- attempt, and what could not be delivered.
-- Locks: registry.projects briefly, for foreign keys and a trigger.

create schema triggers;
comment on schema triggers is 'What happens by itself: scripts, what sets them off, the outbox, executions, dead letters.';
grant usage on schema triggers to treeline_runtime;

-- ---- what is registered ----------------------------------------------------------------------------------------------

create table triggers.scripts (
  id uuid primary key default gen_random_uuid(),
  project_id uuid,
  name text not null,
  kind text not null,
  document text,
  variables jsonb,
  url text,
  secret text,
  headers jsonb not null default '{}',
  timeout_ms int not null default 10000,
  created_by uuid not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  constraint scripts_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint scripts_created_by_fkey foreign key (created_by) references auth.principals (id),
  constraint scripts_name_check check (btrim(name) <> '' and length(name) <= 200),
  constraint scripts_kind_check check (kind in ('operation', 'webhook')),
  constraint scripts_operation_check check ((kind = 'operation') = (document is not null)),
  constraint scripts_webhook_check check ((kind = 'webhook') = (url is not null)),
  constraint scripts_secret_check check ((secret is not null) = (kind = 'webhook' and deleted_at is null)),
  constraint scripts_document_check check (octet_length(document) <= 100000),
  constraint scripts_variables_check check (octet_length(variables::text) <= 100000),
  constraint scripts_url_check check (octet_length(url) <= 2000 and url ~ '^https?://'),
  constraint scripts_headers_check check (jsonb_typeof(headers) = 'object' and octet_length(headers::text) <= 20000),
  constraint scripts_timeout_ms_check check (timeout_ms between 100 and 300000),
  constraint scripts_scopes_check check (auth.valid_scopes(scopes))
);
comment on table triggers.scripts is 'Stored operations and signed webhooks. One that was deleted stays while something tells of it.';
comment on column triggers.scripts.project_id is 'Null: of the whole registry.';
comment on column triggers.scripts.variables is 'A template: strings that begin with = are JSONata over the event. Of a webhook, its body; null: the event.';
comment on column triggers.scripts.secret is 'What webhooks are signed with. Shown once, never read by request work.';
comment on column triggers.scripts.created_by is 'Whom it runs as. Nobody else changes it.';
comment on column triggers.scripts.scopes is 'Those of the token that saved it: with no more it runs when it is invoked.';
create unique index scripts_name_key on triggers.scripts (project_id, name) nulls not distinct where deleted_at is null;
create index idx_scripts_created_by on triggers.scripts (created_by);

create table triggers.triggers (
  id uuid primary key default gen_random_uuid(),
  project_id uuid,
  script_id uuid not null,
  kind text not null,
  enabled boolean not null default true,
  condition text,
  dispatch_mode text not null default 'async',
  retry_max_attempts int not null default 3,
  retry_backoff text not null default 'exponential',
  retry_base_ms int not null default 1000,
  registered_by_principal uuid not null,
  scopes text[] not null,
  active_from pg_snapshot not null default pg_current_snapshot(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint triggers_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint triggers_script_id_fkey foreign key (script_id) references triggers.scripts (id) on delete cascade,
  constraint triggers_registered_by_principal_fkey foreign key (registered_by_principal) references auth.principals (id),
  constraint triggers_kind_check check (kind in ('kv', 'dead_letter', 'cron')),
  constraint triggers_condition_check check (octet_length(condition) <= 10000),
  constraint triggers_dispatch_mode_check check (dispatch_mode = 'async'),
  constraint triggers_retry_max_attempts_check check (retry_max_attempts between 1 and 100),
  constraint triggers_retry_backoff_check check (retry_backoff in ('exponential', 'linear', 'constant')),
  constraint triggers_retry_base_ms_check check (retry_base_ms between 1 and 3600000),
  constraint triggers_scopes_check check (auth.valid_scopes(scopes))
);
comment on table triggers.triggers is 'When a script runs by itself. The table of its kind has the rest.';
comment on column triggers.triggers.condition is 'JSONata over the event: nothing happens unless it is true.';
comment on column triggers.triggers.dispatch_mode is 'Nobody waits for what a trigger sets off: only routes know sync.';
comment on column triggers.triggers.scopes is 'Those of the token that registered it: with no more it runs.';
comment on column triggers.triggers.active_from is 'What was visible then is none of its events: it came before, or while the trigger was disabled.';
create index idx_triggers_app_kind_enabled on triggers.triggers (project_id, kind) where enabled;
create index idx_triggers_script_id on triggers.triggers (script_id);
create index idx_triggers_registered_by_principal on triggers.triggers (registered_by_principal);

-- A name of a collection, all of them, or all that begin with what stands before the asterisk.
create function triggers.glob_matches(p_glob text, p_collection text) returns boolean
language sql immutable parallel safe
as $$
  select case
    when p_glob operator(pg_catalog.=) '*' then true
    when pg_catalog.right(p_glob, 2) operator(pg_catalog.=) ':*'
      then pg_catalog.starts_with(p_collection, pg_catalog.left(p_glob, -1))
    else p_glob operator(pg_catalog.=) p_collection
  end
$$;
comment on function triggers.glob_matches is 'Whether a trigger''s glob means a collection: *, an exact name, or prefix:*.';

-- What can match nothing is a slip of the pen.
create function triggers.is_glob(p_glob text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
  select p_glob in ('*', 'projects', 'worktrees', 'claims', 'activities', 'messages', 'snapshots', 'mirror')
    or (p_glob ~ '^sync:(.+:)?\*$')
    or (p_glob ~ '^sync:.+:.+$' and right(p_glob, 1) <> '*')
$$;

create table triggers.kv_trigger_details (
  trigger_id uuid primary key,
  collection_glob text not null,
  ops text[] not null default '{}',
  constraint kv_trigger_details_trigger_id_fkey foreign key (trigger_id) references triggers.triggers (id) on delete cascade,
  constraint kv_trigger_details_collection_glob_check check (triggers.is_glob(collection_glob) and octet_length(collection_glob) <= 500),
  constraint kv_trigger_details_ops_check check (ops <@ array['insert', 'update', 'delete'] and array_position(ops, null) is null)
);
comment on table triggers.kv_trigger_details is 'Which changes of the registry''s collections a trigger means.';
comment on column triggers.kv_trigger_details.collection_glob is '*, an exact name, or prefix:*.';
comment on column triggers.kv_trigger_details.ops is 'Of insert, update, delete; empty: any.';

create table triggers.dead_letter_trigger_details (
  trigger_id uuid primary key,
  source_filter text,
  trigger_id_filter uuid,
  script_id_filter uuid,
  constraint dead_letter_trigger_details_trigger_id_fkey foreign key (trigger_id) references triggers.triggers (id) on delete cascade,
  constraint dead_letter_trigger_details_source_filter_check
    check (source_filter in ('kv', 'cron', 'http', 'invoke', 'dead_letter', 'replay'))
);
comment on table triggers.dead_letter_trigger_details is 'Which dead letters a trigger means; null: no filter.';

create table triggers.cron_trigger_details (
  trigger_id uuid primary key,
  expression text not null,
  timezone text not null default 'UTC',
  next_due_at timestamptz,
  catch_up text not null default 'skip',
  constraint cron_trigger_details_trigger_id_fkey foreign key (trigger_id) references triggers.triggers (id) on delete cascade,
  constraint cron_trigger_details_expression_check check (btrim(expression) <> '' and length(expression) <= 200),
  constraint cron_trigger_details_timezone_check check (btrim(timezone) <> '' and length(timezone) <= 100),
  constraint cron_trigger_details_catch_up_check check (catch_up in ('skip', 'once', 'all'))
);
comment on table triggers.cron_trigger_details is 'When a trigger is due by the clock.';
comment on column triggers.cron_trigger_details.next_due_at is 'Null: a dispatcher works it out; infinity: never again.';
comment on column triggers.cron_trigger_details.catch_up is 'What becomes of times at which no dispatcher ran: none runs, one for all, or each.';
create index idx_cron_trigger_details_next_due_at on triggers.cron_trigger_details (next_due_at);

create table triggers.routes (
  id uuid primary key default gen_random_uuid(),
  project_id uuid,
  method text not null,
  path text not null,
  script_id uuid not null,
  dispatch_mode text not null default 'async',
  secret text,
  signature text not null default 'standard',
  registered_by_principal uuid not null,
  scopes text[] not null,
  retry_max_attempts int not null default 3,
  retry_backoff text not null default 'exponential',
  retry_base_ms int not null default 1000,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint routes_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint routes_script_id_fkey foreign key (script_id) references triggers.scripts (id) on delete cascade,
  constraint routes_registered_by_principal_fkey foreign key (registered_by_principal) references auth.principals (id),
  constraint routes_method_path_key unique (path, method),
  constraint routes_method_check check (method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE')),
  constraint routes_path_check check (path ~ '^/hooks(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+$' and length(path) <= 200),
  constraint routes_dispatch_mode_check check (dispatch_mode in ('async', 'sync')),
  constraint routes_signature_check check (signature in ('standard', 'github', 'none')),
  constraint routes_secret_check check ((secret is null) = (signature = 'none')),
  constraint routes_retry_max_attempts_check check (retry_max_attempts between 1 and 100),
  constraint routes_retry_backoff_check check (retry_backoff in ('exponential', 'linear', 'constant')),
  constraint routes_retry_base_ms_check check (retry_base_ms between 1 and 3600000),
  constraint routes_scopes_check check (auth.valid_scopes(scopes))
);
comment on table triggers.routes is 'Inbound webhooks: what runs when somebody calls a path under /hooks.';
comment on column triggers.routes.secret is 'What requests are signed with. Shown once, never listed to request work.';
create index idx_routes_project_id on triggers.routes (project_id);
create index idx_routes_script_id on triggers.routes (script_id);
create index idx_routes_registered_by_principal on triggers.routes (registered_by_principal);

-- A request that was accepted is not accepted again: senders repeat what they got no answer to.
create table triggers.received_messages (
  route_id uuid not null,
  message_id text not null,
  received_at timestamptz not null default clock_timestamp(),
  reply_to uuid,
  primary key (route_id, message_id),
  constraint received_messages_route_id_fkey foreign key (route_id) references triggers.routes (id) on delete cascade,
  constraint received_messages_message_id_check check (octet_length(message_id) between 1 and 500)
);
comment on table triggers.received_messages is 'Signed ids of requests that were accepted within the last day.';
comment on column triggers.received_messages.reply_to is 'Who waits: what it waited for in vain may be sent again under the id.';
create index idx_received_messages_reply_to on triggers.received_messages (reply_to) where reply_to is not null;

-- ---- what is under way -----------------------------------------------------------------------------------------------

-- No foreign keys from here on: each row would lock its project, script and principal against nothing, several thousand
-- times a second. What goes with a project is deleted by a trigger, and a script stays while something tells of it.

create table triggers.outbox (
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null default gen_random_uuid(),
  project_id uuid,
  source_kind text not null,
  trigger_id uuid,
  script_id uuid not null,
  principal_id uuid not null,
  scopes text[] not null,
  payload jsonb not null,
  -- What holding it costs: a worker claims by weight.
  payload_bytes int not null generated always as (octet_length(payload::text)) stored,
  dead_letter_id uuid,
  reply_to uuid,
  lane text not null,
  attempt int not null default 0,
  failures int not null default 0,
  first_error text,
  retry_max_attempts int not null,
  retry_backoff text not null,
  retry_base_ms int not null,
  due_at timestamptz not null default clock_timestamp(),
  claimed_by text,
  claim_expires_at timestamptz,
  execution_id uuid,
  depth smallint not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  constraint outbox_source_kind_check check (source_kind in ('kv', 'cron', 'http', 'invoke', 'dead_letter', 'replay')),
  constraint outbox_lane_check check (lane in ('operation', 'webhook', 'reply', 'nested')),
  constraint outbox_reply_to_check check ((reply_to is not null) = (lane in ('reply', 'nested'))),
  constraint outbox_dead_letter_id_check check ((dead_letter_id is not null) = (source_kind = 'dead_letter')),
  constraint outbox_claim_check check (num_nulls(claimed_by, claim_expires_at, execution_id) in (0, 3))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);
comment on table triggers.outbox is 'The one way to everything asynchronous: what waits to be run, or is run just now.';
comment on column triggers.outbox.message_id is 'What a receiver knows a delivery by: the same through retries and replays.';
comment on column triggers.outbox.trigger_id is 'The trigger that set it off; of http, the route.';
comment on column triggers.outbox.scopes is 'What it may do at most: those of the token that registered it.';
comment on column triggers.outbox.dead_letter_id is 'What it handles.';
comment on column triggers.outbox.reply_to is 'Who waits for its result: it is tried once.';
comment on column triggers.outbox.lane is 'Operations, webhooks, what somebody waits for, and what a script waits for do not wait for each other.';
comment on column triggers.outbox.attempt is 'How often it was begun.';
comment on column triggers.outbox.failures is 'How many of those failed; the others were lost with their worker.';
-- By registrant: none waits for all of another's.
create index idx_outbox_due on triggers.outbox (lane, principal_id, due_at) where claimed_by is null;
create index idx_outbox_claim_expires_at on triggers.outbox (claim_expires_at) where claimed_by is not null;
create index idx_outbox_reply_to on triggers.outbox (reply_to) where reply_to is not null;
create index idx_outbox_trigger_id on triggers.outbox (trigger_id);
-- Lists are put together of what is one's own and what is of one's projects: see src/triggers/sight.ts.
create index idx_outbox_project_id on triggers.outbox (project_id, created_at, id);
create index idx_outbox_principal_id on triggers.outbox (principal_id, created_at, id);

-- Nobody's condition is tested while the log is matched: one that takes long would keep everybody's changes waiting.
create table triggers.candidates (
  id bigint generated always as identity primary key,
  trigger_id uuid not null,
  payload jsonb not null,
  depth int not null,
  dead_letter_id uuid,
  taken_until timestamptz not null default '-infinity',
  created_at timestamptz not null default clock_timestamp(),
  constraint candidates_trigger_id_fkey foreign key (trigger_id) references triggers.triggers (id) on delete cascade
) with (fillfactor = 70);
comment on table triggers.candidates is 'What goes into the outbox if its trigger''s condition is true of it, and what that is still to be tested of.';
comment on column triggers.candidates.taken_until is 'Until then somebody tests it.';
create index idx_candidates_trigger_id on triggers.candidates (trigger_id, id);

create table triggers.executions (
  id uuid primary key,
  outbox_id uuid not null,
  project_id uuid,
  source_kind text not null,
  trigger_id uuid,
  script_id uuid not null,
  principal_id uuid not null,
  attempt int not null,
  worker text not null,
  status text not null default 'running',
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  result jsonb,
  error text,
  constraint executions_status_check check (status in ('running', 'succeeded', 'failed', 'timed_out', 'lost')),
  constraint executions_finished_check check ((status = 'running') = (finished_at is null))
) with (fillfactor = 50);
comment on table triggers.executions is 'Every attempt: when, for how long, by which worker, what came back or why it failed.';
comment on column triggers.executions.worker is 'The dispatcher, by its host and process.';
-- None over what changes when an attempt ends, and room in each page: that update then touches no index.
create index idx_executions_started_at on triggers.executions (started_at, id);
create index idx_executions_trigger_id on triggers.executions (trigger_id, started_at, id);
create index idx_executions_script_id on triggers.executions (script_id, started_at, id);
create index idx_executions_project_id on triggers.executions (project_id, started_at, id);
create index idx_executions_principal_id on triggers.executions (principal_id, started_at, id);

create table triggers.dead_letters (
  id uuid primary key default gen_random_uuid(),
  message_id uuid not null,
  project_id uuid,
  source_kind text not null,
  trigger_id uuid,
  script_id uuid,
  principal_id uuid not null,
  scopes text[] not null,
  payload jsonb not null,
  -- Known without a look at it: handlers are told the payload only where it is not large.
  payload_bytes int not null generated always as (octet_length(payload::text)) stored,
  attempts int not null,
  first_error text not null,
  last_error text not null,
  retry_max_attempts int not null,
  retry_backoff text not null,
  retry_base_ms int not null,
  depth smallint not null,
  created_at timestamptz not null default clock_timestamp(),
  resolved_at timestamptz,
  resolution text,
  constraint dead_letters_source_kind_check check (source_kind in ('kv', 'cron', 'http', 'invoke', 'dead_letter', 'replay')),
  constraint dead_letters_resolution_check check (resolution in ('replayed', 'ignored', 'handled_by_script', 'handler_failed')),
  -- A handler that failed has settled nothing: the letter stays where it is seen.
  constraint dead_letters_resolved_check check ((resolved_at is null) = (resolution is null or resolution = 'handler_failed'))
);
comment on table triggers.dead_letters is 'What was to be delivered and could not be.';
comment on column triggers.dead_letters.payload_bytes is 'Its length as text.';
comment on column triggers.dead_letters.resolution is 'What became of it. One whose handler failed is unresolved still.';
create index idx_dead_letters_unresolved on triggers.dead_letters (created_at, id) where resolved_at is null;
create index idx_dead_letters_created_at on triggers.dead_letters (created_at, id);
create index idx_dead_letters_resolved_at on triggers.dead_letters (resolved_at) where resolved_at is not null;
create index idx_dead_letters_trigger_id on triggers.dead_letters (trigger_id, created_at, id);
create index idx_dead_letters_script_id on triggers.dead_letters (script_id, created_at, id);
create index idx_dead_letters_project_id on triggers.dead_letters (project_id, created_at, id);
create index idx_dead_letters_principal_id on triggers.dead_letters (principal_id, created_at, id);
create index idx_dead_letters_unresolved_project_id on triggers.dead_letters (project_id, created_at, id) where resolved_at is null;
create index idx_dead_letters_unresolved_principal_id on triggers.dead_letters (principal_id, created_at, id) where resolved_at is null;

create table triggers.replies (
  reply_to uuid primary key,
  execution_id uuid,
  wait_until timestamptz not null
);
comment on table triggers.replies is 'Who waits for a result. Whoever leaves takes its row away; who could not, is found to be late.';
create index idx_replies_wait_until on triggers.replies (wait_until);

create table triggers.abandoned_executions (
  id uuid primary key default gen_random_uuid(),
  reply_to uuid not null,
  execution_id uuid not null,
  project_id uuid,
  script_id uuid,
  principal_id uuid not null,
  result jsonb,
  error text,
  created_at timestamptz not null default clock_timestamp()
);
comment on table triggers.abandoned_executions is 'Results that came when nobody was waiting any more.';
create index idx_abandoned_executions_created_at on triggers.abandoned_executions (created_at, id);
create index idx_abandoned_executions_script_id on triggers.abandoned_executions (script_id);
create index idx_abandoned_executions_project_id on triggers.abandoned_executions (project_id, created_at, id);
create index idx_abandoned_executions_principal_id on triggers.abandoned_executions (principal_id, created_at, id);

create table triggers.state (
  singleton boolean primary key default true check (singleton),
  -- A place in the log, as its readers have it: all that was visible in prev, and within a window up to next, a position.
  prev pg_snapshot not null,
  next pg_snapshot,
  position bigint,
  moved_at timestamptz not null default clock_timestamp(),
  constraint state_window_check check ((next is null) = (position is null))
);
comment on table triggers.state is 'One row: how far the log was matched. Whoever has it locked is the one reader.';
insert into triggers.state (prev) values (pg_current_snapshot());

-- ---- what goes with a project ----------------------------------------------------------------------------------------

create function triggers.on_projects_deleted() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from triggers.outbox where project_id in (select o.id from old_rows o);
  delete from triggers.executions where project_id in (select o.id from old_rows o);
  delete from triggers.dead_letters where project_id in (select o.id from old_rows o);
  delete from triggers.abandoned_executions where project_id in (select o.id from old_rows o);
  -- Once more: a replay that was waited for has moved a dead letter back.
  delete from triggers.outbox where project_id in (select o.id from old_rows o);
  return null;
end
$$;
create trigger triggers_projects_deleted after delete on registry.projects
  referencing old table as old_rows for each statement execute function triggers.on_projects_deleted();

-- ---- who may see it --------------------------------------------------------------------------------------------------

create function triggers.is_owner(p_project_id uuid, p_principal_id uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from registry.projects p where p.id = p_project_id and p.owner_id = p_principal_id)
    or exists (select from auth.project_members m where m.project_id = p_project_id and m.principal_id = p_principal_id and m.role = 'owner')
$$;

create function triggers.is_ownerless(p_project_id uuid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select not exists (select from registry.projects p where p.id = p_project_id and p.owner_id is not null)
    and not exists (select from auth.project_members m where m.project_id = p_project_id and m.role = 'owner')
$$;

-- The registrant and the project's owner; for what belongs to no project, and for projects without an owner, administrators.
-- By looks into an index for each row: a list of all projects that somebody owns would be made for however few rows.
do $$
declare
  v_table record;
begin
  for v_table in
    select * from (values ('scripts', 'created_by'), ('triggers', 'registered_by_principal'), ('routes', 'registered_by_principal'),
      ('outbox', 'principal_id'), ('executions', 'principal_id'), ('dead_letters', 'principal_id'), ('abandoned_executions', 'principal_id')
    ) as t (name, registrant)
  loop
    execute format('alter table triggers.%I enable row level security', v_table.name);
    execute format($policy$
      create policy %1$s_of_their_people on triggers.%1$I for select to treeline_runtime using (
        %2$I = (select auth.current_principal_id())
        or (project_id is not null and (
          (select p.owner_id from registry.projects p where p.id = %1$I.project_id) = (select auth.current_principal_id())
          or (
            select m.role from auth.project_members m
            where m.project_id = %1$I.project_id and m.principal_id = (select auth.current_principal_id())
          ) = 'owner'
        ))
        -- Written out, and not by is_ownerless: as a call it costs ten times as much for each row that is passed over.
        or ((select auth.is_admin()) and (project_id is null or (
          (select p.owner_id from registry.projects p where p.id = %1$I.project_id) is null
          and not exists (select from auth.project_members m where m.project_id = %1$I.project_id and m.role = 'owner')
        )))
      )$policy$, v_table.name, v_table.registrant);
  end loop;
  -- As their triggers.
  for v_table in select * from (values ('kv_trigger_details'), ('dead_letter_trigger_details'), ('cron_trigger_details')) as t (name) loop
    execute format('alter table triggers.%I enable row level security', v_table.name);
    execute format('create policy %1$s_of_their_people on triggers.%1$I for select to treeline_runtime
      using ((select t.id from triggers.triggers t where t.id = trigger_id) is not null)', v_table.name);
  end loop;
end
$$;
alter table triggers.received_messages enable row level security;
alter table triggers.replies enable row level security;
alter table triggers.candidates enable row level security;
alter table triggers.state enable row level security;

-- Never a secret, nor the headers, which may hold one.
grant select (id, project_id, name, kind, document, variables, url, timeout_ms, created_by, scopes, created_at, updated_at, deleted_at)
  on triggers.scripts to treeline_runtime;
grant select (id, project_id, method, path, script_id, dispatch_mode, signature, registered_by_principal, scopes,
  retry_max_attempts, retry_backoff, retry_base_ms, created_at, updated_at) on triggers.routes to treeline_runtime;
grant select on triggers.triggers, triggers.kv_trigger_details, triggers.dead_letter_trigger_details, triggers.cron_trigger_details,
  triggers.outbox, triggers.executions, triggers.dead_letters, triggers.abandoned_executions to treeline_runtime;

-- ---- what a change of them entails -----------------------------------------------------------------------------------

create function triggers.on_trigger_update() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  new.updated_at := clock_timestamp();
  -- What happened while it was disabled, or meant something else, is none of its business.
  if new.enabled and (not old.enabled or new.condition is distinct from old.condition) then
    new.active_from := pg_current_snapshot();
    update triggers.cron_trigger_details set next_due_at = null where trigger_id = new.id and not old.enabled;
  end if;
  if not new.enabled or new.active_from::text <> old.active_from::text then
    delete from triggers.candidates c where c.trigger_id = new.id;
  end if;
  return new;
end
$$;
create trigger triggers_updated before update on triggers.triggers
  for each row execute function triggers.on_trigger_update();

-- Dispatchers that had nothing to match, or wait for the clock, look again.
create function triggers.on_registered() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify('treeline_triggers', '');
  return null;
end
$$;
create trigger triggers_registered after insert or update on triggers.triggers
  for each statement execute function triggers.on_registered();
create trigger cron_trigger_details_registered after insert or update of expression, timezone, next_due_at on triggers.cron_trigger_details
  for each statement execute function triggers.on_registered();

revoke execute on all functions in schema triggers from public;
grant execute on function triggers.glob_matches to treeline_runtime;
