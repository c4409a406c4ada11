-- Why: what was said in each project: an append-only conversation that several people and programs write at once, some of
-- them after having been offline, and one snapshot of the project's files. Private to the project's owner and members, by
-- policies that bind the owner of the schema too.
-- Locks: nothing but the new objects, and registry.projects briefly for the foreign keys.

create schema chat;
comment on schema chat is 'What was said in each project: messages, and a snapshot of its files. Private to owner and members.';
grant usage on schema chat to treeline_runtime;

create table chat.project_messages (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null,
  message_id text not null,
  sequence_num int not null,
  role text not null,
  content jsonb not null,
  annotations jsonb,
  -- What reading it costs: as text, because 1e300 takes three bytes here and three hundred there.
  bytes int not null generated always as (octet_length(content::text) + coalesce(octet_length(annotations::text), 0)) stored,
  author_id uuid default auth.current_principal_id(),
  created_at timestamptz not null default clock_timestamp(),
  constraint project_messages_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint project_messages_message_id_key unique (project_id, message_id),
  constraint project_messages_sequence_num_key unique (project_id, sequence_num),
  constraint project_messages_message_id_check check (btrim(message_id) <> '' and octet_length(message_id) <= 500),
  constraint project_messages_sequence_num_check check (sequence_num >= 0),
  constraint project_messages_role_check check (role in ('user', 'assistant', 'system')),
  constraint project_messages_content_check check (jsonb_typeof(content) in ('string', 'array', 'object')),
  constraint project_messages_bytes_check check (bytes <= 4000000),
  constraint project_messages_created_at_check check (isfinite(created_at))
);
comment on table chat.project_messages is 'The conversation of each project, append-only. Write with chat.append_project_messages.';
comment on column chat.project_messages.message_id is 'The client''s own id: what comes twice under it is one message.';
comment on column chat.project_messages.sequence_num is 'The order of the conversation: from 0, without holes, never used again.';
comment on column chat.project_messages.content is 'As chat SDKs write it: a string, an array of parts, or an object.';
comment on column chat.project_messages.bytes is 'The length of content and annotations as text: at most 4,000,000.';
comment on column chat.project_messages.author_id is 'Who appended it.';

create table chat.project_counters (
  project_id uuid primary key,
  next_sequence int not null,
  cleared_through int,
  constraint project_counters_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint project_counters_order_check check (next_sequence > coalesce(cleared_through, -1))
) with (fillfactor = 70);
comment on table chat.project_counters is 'How far each conversation has come. Never reset: an old position can hide no new message.';
comment on column chat.project_counters.next_sequence is 'The number that the next message gets.';
comment on column chat.project_counters.cleared_through is 'The last message that was cleared; null: none ever was.';

create table chat.project_snapshots (
  project_id uuid primary key,
  files jsonb not null,
  summary text,
  -- Not generated: that would turn 50 MB into text for each change of the summary.
  bytes int not null,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint project_snapshots_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint project_snapshots_files_check check (jsonb_typeof(files) in ('object', 'array')),
  constraint project_snapshots_bytes_check check (bytes <= 100000000),
  constraint project_snapshots_summary_check check (octet_length(summary) <= 100000)
);
comment on table chat.project_snapshots is 'The files that a project''s conversation is about, as they were last put. Write with chat.put_project_snapshot.';
comment on column chat.project_snapshots.bytes is 'The length of files as text.';

-- ---- who may ---------------------------------------------------------------------------------------------------------

-- Without a pinned search path it becomes part of whatever asks it, several times for each message; so it names all that it
-- uses, down to the operator.
create or replace function auth.current_principal_id() returns uuid
language sql stable parallel safe
as $$
  select case
    -- Not one expression that counts repetitions: it is built anew at each call.
    when pg_catalog.current_setting('app.current_user_id', true)
      operator(pg_catalog.~~) '________-____-____-____-____________'
      and pg_catalog.length(pg_catalog.replace(pg_catalog.current_setting('app.current_user_id', true), '-', ''))
        operator(pg_catalog.=) 32
      and pg_catalog.replace(pg_catalog.current_setting('app.current_user_id', true), '-', '')
        operator(pg_catalog.~) '^[0-9a-fA-F]*$'
    then pg_catalog.current_setting('app.current_user_id', true)::pg_catalog.uuid
  end
$$;

create function chat.role_in(p_project_id uuid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_principal uuid := auth.current_principal_id();
begin
  if exists (select from registry.projects p where p.id = p_project_id and p.owner_id = v_principal) then
    return 'owner';
  end if;
  return (select m.role from auth.project_members m where m.project_id = p_project_id and m.principal_id = v_principal);
end
$$;
comment on function chat.role_in is 'What whoever asks is in a project: owner, editor, viewer, or null.';

-- An unknown project and somebody else's are told apart by nothing.
create function chat.require_role(p_project_id uuid, p_roles text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role text := chat.role_in(p_project_id);
begin
  if v_role is null then
    perform registry.refuse('NOT_FOUND', case
      when auth.current_principal_id() is null then 'Chats are for owners and members of projects: say who asks, with app.current_user_id.'
      else 'You have no chat in such a project: its owner can make you a member.'
    end);
  elsif v_role <> all (p_roles) then
    perform registry.refuse('FORBIDDEN', format('This is for an owner or editor of the project, and you are its %s.', v_role));
  end if;
end
$$;

-- Forced: the owner of the schema is bound as well. Each row costs two looks into an index: scalar sub-selects, because an
-- EXISTS would be turned into a hash of all projects that somebody owns, for however few rows.
do $$
declare
  v_table text;
  v_of_role constant text := '((
      select p.owner_id from registry.projects p where p.id = %1$I.project_id
    ) = (select auth.current_principal_id()) or (
      select m.role from auth.project_members m
      where m.project_id = %1$I.project_id and m.principal_id = (select auth.current_principal_id())
    ) = any (%2$L))';
begin
  foreach v_table in array array['project_messages', 'project_snapshots'] loop
    execute format('alter table chat.%1$I enable row level security, force row level security', v_table);
    execute format('create policy %1$s_of_members on chat.%1$I for select using ' || v_of_role,
      v_table, array['owner', 'editor', 'viewer']);
    execute format('create policy %1$s_by_writers on chat.%1$I for insert with check ' || v_of_role, v_table, array['owner', 'editor']);
  end loop;
  execute format('create policy %1$s_changed_by_writers on chat.%1$I for update using ' || v_of_role,
    'project_snapshots', array['owner', 'editor']);
  execute format('create policy %1$s_cleared_by_writers on chat.%1$I for delete using ' || v_of_role,
    'project_messages', array['owner', 'editor']);
  -- Not forced: a trigger of the owner's moves the counters, after the messages themselves have passed.
  alter table chat.project_counters enable row level security;
  execute format('create policy %1$s_of_members on chat.%1$I for select using ' || v_of_role,
    'project_counters', array['owner', 'editor', 'viewer']);
end
$$;

-- Nobody writes in another's name.
create policy project_messages_by_their_author on chat.project_messages as restrictive for insert
  with check (author_id = (select auth.current_principal_id()));

-- What is said is not changed, and not deleted but by clearing (a function of the owner's); the counters are moved by what is
-- inserted (a trigger of the owner's).
grant select on chat.project_messages, chat.project_counters, chat.project_snapshots to treeline_runtime;
grant insert (project_id, message_id, sequence_num, role, content, annotations, created_at) on chat.project_messages to treeline_runtime;
grant insert (project_id, files, summary, bytes), update (files, summary, bytes, updated_at) on chat.project_snapshots to treeline_runtime;
