-- Why: the two things that can be done to a conversation: append to it, and clear it. Both are safe to send again.
-- Locks: nothing but the new objects. At run time an append holds its own chat's advisory lock until its commit.

-- ---- appending -------------------------------------------------------------------------------------------------------

-- What is wrong with the first bad message, or nothing. A message that comes twice must be the same twice.
create function chat.check_messages(p_messages jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most constant int := 1000;
  v_bad record;
begin
  if p_messages is null or jsonb_typeof(p_messages) <> 'array' or jsonb_array_length(p_messages) = 0 then
    perform registry.refuse('INVALID', 'Expected at least one message, in an array.', '{"field": null}');
  elsif jsonb_array_length(p_messages) > v_most then
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('Expected at most %s messages at once, got %s: send the rest afterwards.',
      v_most, jsonb_array_length(p_messages)), jsonb_build_object('limit', v_most));
  end if;
  -- Nearly always nothing is wrong with any, and one look at each tells.
  if octet_length(p_messages::text) <= 4000000 and not chat.is_too_deep(p_messages, 502) and (
    select count(distinct i.message ->> 'message_id') = count(*) and bool_and(coalesce(
      jsonb_typeof(i.message) = 'object'
      and jsonb_typeof(i.message -> 'message_id') = 'string'
      and btrim(i.message ->> 'message_id') <> '' and octet_length(i.message ->> 'message_id') <= 500
      and i.message ->> 'role' in ('user', 'assistant', 'system')
      and jsonb_typeof(i.message -> 'content') in ('string', 'array', 'object')
      and i.message ->> 'created_at' is null, false))
    from jsonb_array_elements(p_messages) i (message)
  ) then
    return;
  end if;
  select i.index, wrong.* into v_bad
  from (
    select (ordinality - 1)::int as index, value as message, value -> 'content' as content, value ->> 'message_id' as message_id
    from jsonb_array_elements(p_messages) with ordinality
  ) i
  cross join lateral (
    select * from (values
      ('INVALID', null, 'expected an object with message_id, role and content',
        jsonb_typeof(i.message) <> 'object'),
      ('INVALID', 'messageId', 'expected a message_id: text of 1 to 500 bytes',
        jsonb_typeof(i.message -> 'message_id') is distinct from 'string' or btrim(i.message_id) = '' or octet_length(i.message_id) > 500),
      ('INVALID', 'role', 'expected a role of user, assistant and system',
        coalesce(i.message ->> 'role', '') not in ('user', 'assistant', 'system')),
      ('INVALID', 'content', 'expected content: a string, an array of parts, or an object',
        coalesce(jsonb_typeof(i.content), 'null') not in ('string', 'array', 'object')),
      ('PAYLOAD_TOO_LARGE', 'content', 'expected content and annotations of at most 4,000,000 bytes together, written as JSON',
        octet_length(i.content::text) + coalesce(octet_length((i.message -> 'annotations')::text), 0) > 4000000),
      ('INVALID', 'content', 'expected content and annotations that nest at most 500 levels deep',
        chat.is_too_deep(i.content, 500) or chat.is_too_deep(i.message -> 'annotations', 500)),
      ('INVALID', 'createdAt', 'expected a time as created_at, or none',
        i.message ->> 'created_at' is not null and not chat.is_time(i.message ->> 'created_at'))
    ) check_of (code, field, problem, failed)
    where failed
    limit 1
  ) wrong
  order by i.index
  limit 1;
  if found then
    perform registry.refuse(v_bad.code, format('Message %s: %s.', v_bad.index, v_bad.problem),
      jsonb_build_object('index', v_bad.index, 'field', v_bad.field));
  end if;
  select min(i.index) as index, i.message_id into v_bad
  from (
    select (ordinality - 1)::int as index, value ->> 'message_id' as message_id, chat.said(value) as said,
      first_value(chat.said(value)) over (partition by value ->> 'message_id' order by ordinality) as said_first
    from jsonb_array_elements(p_messages) with ordinality
  ) i
  where i.said <> i.said_first
  group by i.message_id
  order by 1
  limit 1;
  if found then
    perform registry.refuse('INVALID', format('Message %s: another message of this batch has the message_id %s and says something else.',
      v_bad.index, to_json(left(v_bad.message_id, 100))), jsonb_build_object('index', v_bad.index, 'field', 'messageId'));
  end if;
end
$$;

-- Writers of JSON in many languages call themselves for each level, and give up on some thousands.
create function chat.is_too_deep(p_value jsonb, p_most int) returns boolean
language sql immutable
as $$
  select coalesce(jsonb_path_exists(p_value, format('$.**{%s}', p_most)::jsonpath), false)
$$;

create function chat.is_time(p_text text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return isfinite(p_text::timestamptz);
exception when invalid_datetime_format or datetime_field_overflow or invalid_parameter_value then
  return false;
end
$$;

-- What makes two messages the same, besides their id. When it was said does not: a client that sends again may not know.
create function chat.said(p_message jsonb) returns jsonb
language sql immutable
as $$
  select jsonb_build_object('role', p_message -> 'role', 'content', p_message -> 'content', 'annotations', p_message -> 'annotations')
$$;

create function chat.append_project_messages(p_project_id uuid, p_messages jsonb)
returns table (inserted_count int, messages jsonb)
language plpgsql
set search_path = pg_catalog, pg_temp
-- Here and in all that it calls: planning would take longer than doing.
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_first int;
  v_inserted int;
begin
  perform chat.require_role(p_project_id, array['owner', 'editor']);
  perform chat.check_messages(p_messages);
  -- Until the commit: whoever comes next sees this batch, and the log gets the chat's messages in their order. The
  -- statements after it have snapshots of their own, from after the wait.
  perform pg_advisory_xact_lock(hashtextextended('chat.project_messages', 0) # hashtextextended(p_project_id::text, 0));
  -- Again: the right, or the project, may have gone while this waited.
  perform chat.require_role(p_project_id, array['owner', 'editor']);
  v_first := coalesce((select c.next_sequence from chat.project_counters c where c.project_id = p_project_id), 0);
  insert into chat.project_messages (project_id, message_id, sequence_num, role, content, annotations, created_at)
  select p_project_id, i.message_id, v_first + row_number() over (order by i.index) - 1,
    i.message ->> 'role', i.message -> 'content', nullif(i.message -> 'annotations', 'null'),
    coalesce((i.message ->> 'created_at')::timestamptz, clock_timestamp())
  from (
    select ordinality as index, value as message, value ->> 'message_id' as message_id,
      row_number() over (partition by value ->> 'message_id' order by ordinality) as time
    from jsonb_array_elements(p_messages) with ordinality
  ) i
  -- Looked up one by one, by its index; a join would be planned for a chat of any length.
  where i.time = 1 and (
    select m.id from chat.project_messages m where m.project_id = p_project_id and m.message_id = i.message_id
  ) is null
  order by i.index;
  get diagnostics v_inserted = row_count;
  return query
  select v_inserted, jsonb_agg(
    jsonb_build_object(
      'id', m.id, 'message_id', m.message_id, 'sequence_num', m.sequence_num, 'role', m.role, 'author_id', m.author_id,
      'created_at', m.created_at, 'bytes', m.bytes, 'project_id', p_project_id, 'inserted', m.sequence_num >= v_first,
      'differs', coalesce(m.said <> chat.said(i.value), false)
    ) order by i.ordinality)
  from jsonb_array_elements(p_messages) with ordinality i
  cross join lateral (
    select m.id, m.message_id, m.sequence_num, m.role, m.author_id, m.created_at, m.bytes,
      case when m.sequence_num < v_first
        then jsonb_build_object('role', m.role, 'content', m.content, 'annotations', m.annotations)
      end as said
    from chat.project_messages m
    where m.project_id = p_project_id and m.message_id = i.value ->> 'message_id'
    limit 1
  ) m;
end
$$;
comment on function chat.append_project_messages is
  'Appends messages ({"message_id", "role", "content", "annotations"?, "created_at"?}) in the order given, all or none, with '
  'the caller''s rights. What is there under its message_id already is left as it is. Answers how many were inserted, and for '
  'each its id, sequence_num, whether it was inserted now, and whether what is stored differs from what was given.';

-- ---- what an insert entails ------------------------------------------------------------------------------------------

-- Whoever inserts, by whatever statement, inserts the numbers that come next; the counter moves by that and by nothing else,
-- so there are no holes. Then one event per message, in the order of the conversation; what was said is not in it.
create function chat.on_messages_appended() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_principal uuid := auth.current_principal_id();
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
  v_chat record;
begin
  for v_chat in
    select n.project_id, min(n.sequence_num) as first, max(n.sequence_num) as last, count(*) as count
    from new_rows n group by n.project_id
  loop
    insert into chat.project_counters as c (project_id, next_sequence)
    select v_chat.project_id, v_chat.count where v_chat.first = 0 and v_chat.last + 1 = v_chat.count
    on conflict do nothing;
    if not found then
      update chat.project_counters c set next_sequence = v_chat.last + 1
      where c.project_id = v_chat.project_id and c.next_sequence = v_chat.first and v_chat.last - v_chat.first + 1 = v_chat.count;
    end if;
    if not found then
      perform registry.refuse('FORBIDDEN', 'Messages get their numbers one after the other, from chat.append_project_messages.');
    end if;
  end loop;
  insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
  select 'messages', 'insert', n.id, n.project_id, v_principal,
    jsonb_build_object('sequence_num', n.sequence_num, 'bytes', n.bytes), v_depth
  from new_rows n
  order by n.project_id, n.sequence_num;
  if found and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger project_messages_appended after insert on chat.project_messages
  referencing new table as new_rows for each statement execute function chat.on_messages_appended();

-- ---- clearing --------------------------------------------------------------------------------------------------------

create function chat.clear_project_messages(p_project_id uuid, p_expected_count int)
returns table (cleared_count int, cleared_through int)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_counter chat.project_counters;
  v_count int;
begin
  perform chat.require_role(p_project_id, array['owner', 'editor']);
  perform pg_advisory_xact_lock(hashtextextended('chat.project_messages', 0) # hashtextextended(p_project_id::text, 0));
  perform chat.require_role(p_project_id, array['owner', 'editor']);
  select * into v_counter from chat.project_counters c where c.project_id = p_project_id;
  -- There are no holes, so this is the count.
  v_count := coalesce(v_counter.next_sequence - coalesce(v_counter.cleared_through + 1, 0), 0);
  if p_expected_count is distinct from v_count then
    perform registry.refuse('CONFLICT', format('The chat has %s messages, and %s were expected: read it again, then clear what you have seen.',
      v_count, coalesce(p_expected_count::text, 'null')), jsonb_build_object('count', v_count));
  end if;
  delete from chat.project_messages m where m.project_id = p_project_id;
  return query select v_count, case when v_count > 0 then v_counter.next_sequence - 1 else v_counter.cleared_through end;
end
$$;
comment on function chat.clear_project_messages is
  'Deletes all messages of a project, if there are as many as the caller believes. Their numbers are not used again.';

-- Nor truncated: policies would hide from its triggers what goes.
create function chat.on_kept() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform registry.refuse('FORBIDDEN', format('%s of chat.%I is refused: %s.', tg_op, tg_table_name, case
    when tg_table_name = 'project_counters' then 'they follow the messages'
    when tg_table_name = 'project_messages' then 'messages are appended, and cleared by chat.clear_project_messages(project, expected count)'
    else 'delete the rows of those projects that you mean'
  end));
  return null;
end
$$;
create trigger project_messages_no_update before update on chat.project_messages
  for each statement execute function chat.on_kept();
create trigger project_messages_no_truncate before truncate on chat.project_messages
  for each statement execute function chat.on_kept();
-- The counters follow the messages, by their triggers.
create trigger project_counters_kept before insert or update or delete on chat.project_counters
  for each row when (pg_trigger_depth() = 0) execute function chat.on_kept();

-- A chat is cleared as a whole or not at all, by whatever statement: its numbers have no holes.
create function chat.on_messages_deleted() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_chat record;
begin
  for v_chat in
    select o.project_id, max(o.sequence_num) as through, count(*) as count
    from old_rows o
    -- What goes with its project is told by the project's own event.
    where exists (select from registry.projects p where p.id = o.project_id)
    group by o.project_id
  loop
    update chat.project_counters c set cleared_through = v_chat.through
    where c.project_id = v_chat.project_id and c.next_sequence = v_chat.through + 1
      and c.next_sequence - coalesce(c.cleared_through + 1, 0) = v_chat.count;
    if not found then
      perform registry.refuse('FORBIDDEN', 'Messages are not deleted one by one: a chat is cleared as a whole, by chat.clear_project_messages.');
    end if;
    insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
    values ('messages', 'delete', v_chat.project_id, v_chat.project_id, auth.current_principal_id(),
      jsonb_build_object('cleared_through', v_chat.through, 'count', v_chat.count),
      coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint);
    if current_setting('feed.notify', true) is distinct from 'after_commit' then
      perform pg_notify('treeline_feed', '');
    end if;
  end loop;
  return null;
end
$$;
create trigger project_messages_cleared after delete on chat.project_messages
  referencing old table as old_rows for each statement execute function chat.on_messages_deleted();
