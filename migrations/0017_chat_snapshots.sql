-- Why: the files that a project's conversation is about, one snapshot per project: small ones as JSON among other JSON, large
-- ones as a document that no gateway takes apart.
-- Locks: nothing but the new objects.

create function chat.put_project_snapshot(p_project_id uuid, p_files jsonb, p_summary text default null)
returns table (bytes int, created_at timestamptz, updated_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_most constant int := 100000000;
  v_bytes bigint;
begin
  perform chat.require_role(p_project_id, array['owner', 'editor']);
  if coalesce(jsonb_typeof(p_files), 'null') not in ('object', 'array') then
    perform registry.refuse('INVALID', 'Expected files as an object, or an array.', '{"field": "files"}');
  end if;
  if chat.is_too_deep(p_files, 500) then
    perform registry.refuse('INVALID', 'Expected files that nest at most 500 levels deep.', '{"field": "files"}');
  end if;
  begin
    v_bytes := octet_length(p_files::text);
  exception when program_limit_exceeded or out_of_memory then
    v_bytes := null;
  end;
  -- Numbers such as 1e300 are short when they come and long when they are read.
  if v_bytes is null or v_bytes > v_most then
    perform registry.refuse('PAYLOAD_TOO_LARGE', format('Written out, the files have more than %s bytes: leave some out.', v_most),
      jsonb_build_object('limit', v_most, 'field', 'files'));
  end if;
  return query
  insert into chat.project_snapshots as s (project_id, files, summary, bytes) values (p_project_id, p_files, p_summary, v_bytes)
  on conflict (project_id) do update
    set files = excluded.files, summary = excluded.summary, bytes = excluded.bytes, updated_at = clock_timestamp()
  returning s.bytes, s.created_at, s.updated_at;
end
$$;
comment on function chat.put_project_snapshot is 'Puts the project''s snapshot in the place of the one before, with the caller''s rights.';

create function chat.put_snapshot_document(p_project_id uuid, p_document jsonb)
returns table (bytes int, created_at timestamptz, updated_at timestamptz)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_document) <> 'object' or not p_document ? 'files' then
    perform registry.refuse('INVALID', 'Expected an object {"files": …, "summary": …}.');
  elsif coalesce(jsonb_typeof(p_document -> 'summary'), 'null') not in ('string', 'null') then
    perform registry.refuse('INVALID', 'Expected the summary as text, or none.', '{"field": "summary"}');
  end if;
  return query select * from chat.put_project_snapshot(p_project_id, p_document -> 'files', p_document ->> 'summary');
end
$$;
comment on function chat.put_snapshot_document is 'As chat.put_project_snapshot, for a document {"files", "summary"?}.';

-- In pieces, none of which ends within a character: whoever passes it on never has all of it as one text.
create function chat.read_snapshot_document(p_project_id uuid, p_piece_bytes int default 262144) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_document bytea;
  v_from int := 0;
  v_until int;
  v_length int;
begin
  perform chat.require_role(p_project_id, array['owner', 'editor', 'viewer']);
  select convert_to(
    '{"createdAt":"' || to_char(s.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    || '","updatedAt":"' || to_char(s.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"'
    || ',"summary":' || coalesce(to_json(s.summary)::text, 'null') || ',"files":' || s.files::text || '}', 'UTF8')
  into v_document from chat.project_snapshots s where s.project_id = p_project_id;
  v_length := length(v_document);
  while v_from < v_length loop
    v_until := least(v_from + greatest(p_piece_bytes, 4), v_length);
    while v_until < v_length and get_byte(v_document, v_until) & 192 = 128 loop
      v_until := v_until - 1;
    end loop;
    return next convert_from(substring(v_document from v_from + 1 for v_until - v_from), 'UTF8');
    v_from := v_until;
  end loop;
end
$$;
comment on function chat.read_snapshot_document is 'The project''s snapshot as a JSON document, in pieces; no row: there is none.';

create function feed.on_snapshots() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_principal uuid := auth.current_principal_id();
  v_depth smallint := coalesce(nullif(current_setting('feed.depth', true), ''), '0')::smallint;
begin
  if tg_op = 'DELETE' then
    insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
    select 'snapshots', 'delete', o.project_id, o.project_id, v_principal, '{}', v_depth
    from old_rows o where exists (select from registry.projects p where p.id = o.project_id);
  else
    insert into feed.events (topic, op, entity_id, project_id, principal_id, data, depth)
    select 'snapshots', lower(tg_op), n.project_id, n.project_id, v_principal, jsonb_build_object('bytes', n.bytes), v_depth
    from new_rows n;
  end if;
  if found and current_setting('feed.notify', true) is distinct from 'after_commit' then
    perform pg_notify('treeline_feed', '');
  end if;
  return null;
end
$$;
create trigger feed_snapshots_insert after insert on chat.project_snapshots
  referencing new table as new_rows for each statement execute function feed.on_snapshots();
create trigger feed_snapshots_update after update on chat.project_snapshots
  referencing new table as new_rows for each statement execute function feed.on_snapshots();
create trigger feed_snapshots_delete after delete on chat.project_snapshots
  referencing old table as old_rows for each statement execute function feed.on_snapshots();
create trigger project_snapshots_no_truncate before truncate on chat.project_snapshots
  for each statement execute function chat.on_kept();

-- ---- who may call what -----------------------------------------------------------------------------------------------

revoke execute on all functions in schema chat, feed from public;
grant execute on function feed.read, feed.is_retained, feed.health to treeline_runtime;
-- Those that run with the caller's rights, and what they call.
grant execute on function chat.role_in, chat.require_role, chat.said, chat.is_time, chat.is_too_deep, chat.check_messages, chat.append_project_messages,
  chat.clear_project_messages, chat.put_project_snapshot, chat.put_snapshot_document, chat.read_snapshot_document, registry.refuse
to treeline_runtime;

update registry.metadata set value = '1.2.0' where key = 'schema_version';
