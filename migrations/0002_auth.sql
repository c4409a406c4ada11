-- Why: who may do what: principals, their tokens, the spaces and projects that they are members of.
-- Locks: nothing but the new objects.

-- ---- who is asking ---------------------------------------------------------------------------------------------------

-- A setting made for a transaction reads as '' afterwards on a pooled connection, and SQL users may set anything: what is
-- no UUID is nobody, not an error.
create function auth.current_principal_id() returns uuid
language sql stable parallel safe
set search_path = ''
as $$
  select case when setting ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then setting::uuid end
  from (select current_setting('app.current_user_id', true) as setting) s
$$;
comment on function auth.current_principal_id is 'The principal that the transaction works for; null: nobody.';

create function auth.current_space_ids() returns text[]
language sql stable parallel safe
set search_path = ''
as $$ select array_remove(string_to_array(current_setting('app.current_user_space_ids', true), ','), '') $$;
comment on function auth.current_space_ids is 'The spaces that the principal is a member of.';

create function auth.current_scopes() returns text[]
language sql stable parallel safe
set search_path = ''
as $$ select array_remove(string_to_array(current_setting('app.current_user_scopes', true), ','), '') $$;
comment on function auth.current_scopes is 'What the token in use may do.';

-- Only the schema's owner, and who has its rights, is a SQL user with a free hand. Everybody else is bound, whatever role it
-- managed not to take on; and the owner's own connections are bound where they take on another role. Asked of the session,
-- because inside SECURITY DEFINER functions current_user is their owner.
create function auth.is_request() returns boolean
language sql stable parallel safe
set search_path = ''
as $$
  select not pg_has_role(
    coalesce(nullif(current_setting('role', true), 'none'), session_user)::name,
    (select nspowner from pg_catalog.pg_namespace where nspname = 'auth'), 'MEMBER')
$$;
comment on function auth.is_request is 'Whether this is request work, not a SQL user''s session.';

create function auth.has_scope(p_scope text) returns boolean
language sql stable parallel safe
set search_path = ''
as $$
  select case
    when not auth.is_request() then true
    when auth.current_principal_id() is null then false
    else coalesce(p_scope = any (auth.current_scopes()), false)
      or (p_scope not in ('chat', 'sync') and coalesce('admin' = any (auth.current_scopes()), false))
  end
$$;
comment on function auth.has_scope is 'Whether whoever asks may do this; admin implies all but chat and sync. SQL users may.';

create function auth.is_admin() returns boolean
language sql stable parallel safe
set search_path = ''
as $$ select auth.has_scope('admin') $$;
comment on function auth.is_admin is 'Whether whoever asks is an administrator: by scope, or as a SQL user.';

create function auth.refuse(p_code text, p_message text) returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using message = p_message, detail = p_code, errcode = case p_code
    when 'NOT_FOUND' then 'P0002' when 'CONFLICT' then '23505' when 'FORBIDDEN' then '42501' when 'INVALID' then '22023' else '55000' end;
end
$$;
comment on function auth.refuse is 'Raises a refusal whose DETAIL is its stable code.';

create function auth.valid_scopes(p_scopes text[]) returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select p_scopes <@ array['registry:read', 'registry:write', 'chat', 'sync', 'triggers:admin', 'maintenance', 'admin']
    and array_position(p_scopes, null) is null
$$;
comment on function auth.valid_scopes is 'Whether all of these are scopes.';

-- ---- tables ----------------------------------------------------------------------------------------------------------

create table auth.principals (
  id uuid primary key default gen_random_uuid(),
  kind text not null,
  handle text not null,
  display_name text,
  external_id text,
  scopes text[] not null default '{}',
  created_at timestamptz not null default now(),
  disabled_at timestamptz,
  constraint principals_handle_key unique (handle),
  constraint principals_external_id_key unique (external_id),
  constraint principals_kind_check check (kind in ('user', 'agent', 'service')),
  constraint principals_handle_check check (handle ~ '^[a-z0-9]([a-z0-9._@-]{0,98}[a-z0-9])?$'),
  constraint principals_scopes_check check (auth.valid_scopes(scopes))
);
comment on table auth.principals is 'Who can ask: users, agents and services. Never deleted, only disabled.';
comment on column auth.principals.scopes is 'The most that its tokens may do.';

create table auth.tokens (
  id uuid primary key default gen_random_uuid(),
  principal_id uuid not null,
  name text not null,
  hash bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz,
  constraint tokens_principal_id_fkey foreign key (principal_id) references auth.principals (id) on delete cascade,
  constraint tokens_hash_key unique (hash),
  constraint tokens_hash_check check (length(hash) = 32),
  constraint tokens_name_check check (btrim(name) <> '' and length(name) <= 200),
  constraint tokens_scopes_check check (auth.valid_scopes(scopes))
);
comment on table auth.tokens is 'Bearer tokens: 32 random bytes, of which only the SHA-256 is kept.';
create index idx_tokens_principal_id on auth.tokens (principal_id, created_at);

create table auth.project_members (
  project_id uuid not null,
  principal_id uuid not null,
  role text not null,
  created_at timestamptz not null default now(),
  primary key (project_id, principal_id),
  constraint project_members_principal_id_fkey foreign key (principal_id) references auth.principals (id) on delete cascade,
  constraint project_members_role_check check (role in ('owner', 'editor', 'viewer'))
);
comment on table auth.project_members is 'Who has a role in a project.';
create index idx_project_members_principal_id on auth.project_members (principal_id);

create table auth.spaces (
  id text primary key,
  name text not null,
  created_at timestamptz not null default now(),
  -- A comma would open another space: the settings join ids by it.
  constraint spaces_id_check check (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  constraint spaces_name_check check (btrim(name) <> '' and length(name) <= 200)
);
comment on table auth.spaces is 'Groups of principals that share rows of offline clients.';

create table auth.space_members (
  space_id text not null,
  principal_id uuid not null,
  role text not null,
  created_at timestamptz not null default now(),
  primary key (space_id, principal_id),
  constraint space_members_space_id_fkey foreign key (space_id) references auth.spaces (id) on delete cascade,
  constraint space_members_principal_id_fkey foreign key (principal_id) references auth.principals (id) on delete cascade,
  constraint space_members_role_check check (role in ('owner', 'editor', 'viewer'))
);
comment on table auth.space_members is 'Who is in a space, and as what.';
create index idx_space_members_principal_id on auth.space_members (principal_id);

-- ---- what request work may see ---------------------------------------------------------------------------------------

-- Enabled, not forced: the functions below run as the owner and check for themselves.
alter table auth.principals enable row level security;
alter table auth.tokens enable row level security;
alter table auth.project_members enable row level security;
alter table auth.spaces enable row level security;
alter table auth.space_members enable row level security;

create policy principals_of_the_fleet on auth.principals for select to treeline_runtime
  using ((select auth.current_principal_id()) is not null);
create policy tokens_of_oneself on auth.tokens for select to treeline_runtime
  using (principal_id = (select auth.current_principal_id()) or (select auth.is_admin()));
create policy project_members_of_the_fleet on auth.project_members for select to treeline_runtime
  using ((select auth.current_principal_id()) is not null);
create policy spaces_of_members on auth.spaces for select to treeline_runtime
  using ((select auth.current_principal_id()) is not null and id = any ((select auth.current_space_ids())::text[]));
create policy space_members_of_members on auth.space_members for select to treeline_runtime
  using ((select auth.current_principal_id()) is not null and space_id = any ((select auth.current_space_ids())::text[]));

-- Not external_id, and never a hash.
grant select (id, kind, handle, display_name, scopes, created_at, disabled_at) on auth.principals to treeline_runtime;
grant select (id, principal_id, name, scopes, created_at, expires_at, last_used_at, revoked_at) on auth.tokens to treeline_runtime;
grant select on auth.project_members, auth.spaces, auth.space_members to treeline_runtime;

-- ---- proving who one is ----------------------------------------------------------------------------------------------

create function auth.authenticate(p_hash bytea)
returns table (
  outcome text, token_id uuid, principal_id uuid, kind text, handle text, scopes text[], space_ids text[], expires_at timestamptz
)
language sql stable security definer
set search_path = ''
as $$
  select case
      when t.revoked_at is not null then 'revoked'
      when t.expires_at <= clock_timestamp() then 'expired'
      when p.disabled_at is not null then 'disabled'
      else 'ok'
    end,
    t.id, p.id, p.kind, p.handle,
    array(select unnest(t.scopes) intersect select unnest(p.scopes)),
    array(select m.space_id from auth.space_members m where m.principal_id = p.id order by m.space_id),
    t.expires_at
  from auth.tokens t join auth.principals p on p.id = t.principal_id
  where t.hash = p_hash
$$;
comment on function auth.authenticate is 'Whose token this is, by its SHA-256, and whether it may be used; no row: unknown.';

create function auth.touch_token(p_token_id uuid) returns void
language sql volatile security definer
set search_path = ''
as $$
  update auth.tokens set last_used_at = now()
  where id = p_token_id and (last_used_at is null or last_used_at < now() - interval '1 minute')
$$;
comment on function auth.touch_token is 'Notes a token''s use, at most once a minute.';

-- An identity provider has vouched for the subject; the first sight makes a principal.
create function auth.principal_for_subject(p_external_id text, p_handle text, p_display_name text, p_scopes text[])
returns table (principal_id uuid, kind text, handle text, scopes text[], space_ids text[], disabled boolean)
language plpgsql security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_base text := coalesce(nullif(btrim(left(regexp_replace(lower(p_handle), '[^a-z0-9._@-]+', '-', 'g'), 80), '.-_@'), ''), 'user');
  v_handle text := v_base;
  v_number int := 1;
begin
  -- Again while an administrator, whom the lock does not hold back, takes the handle or the subject at the same moment.
  while not exists (select from auth.principals p where p.external_id = p_external_id) loop
    -- Everybody's first request at once makes one principal, and two people of one name get two handles.
    perform pg_advisory_xact_lock(hashtextextended('auth.principals', 0));
    -- The first administrator's handle is nobody else's, also before there is one: its token would become that person's.
    while v_handle = 'local' or exists (select from auth.principals p where p.handle = v_handle) loop
      v_number := v_number + 1;
      v_handle := v_base || '-' || v_number;
    end loop;
    insert into auth.principals (kind, handle, display_name, external_id, scopes)
    values ('user', v_handle, nullif(btrim(p_display_name), ''), p_external_id, p_scopes)
    on conflict do nothing;
  end loop;
  return query
    select p.id, p.kind, p.handle, p.scopes,
      array(select m.space_id from auth.space_members m where m.principal_id = p.id order by m.space_id), p.disabled_at is not null
    from auth.principals p where p.external_id = p_external_id;
end
$$;
comment on function auth.principal_for_subject is 'The principal of an identity provider''s subject, made at first sight with these scopes.';

-- ---- principals ------------------------------------------------------------------------------------------------------

create function auth.require_admin() returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if not auth.is_admin() then
    perform auth.refuse('FORBIDDEN', 'This needs the scope admin.');
  end if;
end
$$;

create function auth.get_principal(p_principal_id uuid) returns auth.principals
language plpgsql
set search_path = ''
as $$
declare
  v_principal auth.principals;
begin
  select * into v_principal from auth.principals where id = p_principal_id for no key update;
  if not found then
    perform auth.refuse('NOT_FOUND', format('No principal has the id %s.', coalesce(p_principal_id::text, 'null')));
  end if;
  return v_principal;
end
$$;

create function auth.create_principal(p_kind text, p_handle text, p_display_name text, p_external_id text, p_scopes text[]) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
  v_id uuid;
begin
  perform auth.require_admin();
  insert into auth.principals (kind, handle, display_name, external_id, scopes)
  values (p_kind, lower(p_handle), p_display_name, p_external_id, p_scopes)
  returning id into v_id;
  return v_id;
end
$$;
comment on function auth.create_principal is 'Makes a principal; needs admin.';

create function auth.update_principal(p_principal_id uuid, p_patch jsonb) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal auth.principals;
begin
  perform auth.require_admin();
  v_principal := auth.get_principal(p_principal_id);
  if p_principal_id = auth.current_principal_id() and p_patch ? 'scopes' and not p_patch -> 'scopes' ? 'admin' then
    perform auth.refuse('INVALID', 'An administrator cannot take the scope admin from itself: another one must.');
  end if;
  update auth.principals set
    display_name = case when p_patch ? 'display_name' then p_patch ->> 'display_name' else display_name end,
    scopes = case when p_patch ? 'scopes' then array(select jsonb_array_elements_text(p_patch -> 'scopes')) else scopes end
  where id = p_principal_id;
  return p_principal_id;
end
$$;
comment on function auth.update_principal is 'Changes display_name and scopes as far as the patch names them; needs admin. Its tokens shrink along.';

create function auth.set_principal_disabled(p_principal_id uuid, p_disabled boolean) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
  v_principal auth.principals;
begin
  perform auth.require_admin();
  v_principal := auth.get_principal(p_principal_id);
  if p_disabled and p_principal_id = auth.current_principal_id() then
    perform auth.refuse('INVALID', 'An administrator cannot disable itself: another one must.');
  end if;
  update auth.principals set disabled_at = case when p_disabled then coalesce(disabled_at, now()) end where id = p_principal_id;
  return p_principal_id;
end
$$;
comment on function auth.set_principal_disabled is 'Shuts a principal out, or lets it in again; needs admin.';

-- ---- tokens ----------------------------------------------------------------------------------------------------------

create function auth.create_token(p_principal_id uuid, p_name text, p_hash bytea, p_scopes text[], p_expires_at timestamptz) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
  v_asker uuid := auth.current_principal_id();
  v_principal auth.principals;
  v_beyond text[];
  v_id uuid;
begin
  if p_principal_id is distinct from v_asker then
    if not auth.is_admin() then
      perform auth.refuse('FORBIDDEN', 'Only admin makes tokens for others: leave the principal out to make one for yourself.');
    end if;
  end if;
  v_principal := auth.get_principal(p_principal_id);
  v_beyond := array(select unnest(p_scopes) except select unnest(v_principal.scopes));
  if v_beyond <> '{}' then
    perform auth.refuse('FORBIDDEN', format('The principal %s may not have %s.', v_principal.handle, array_to_string(v_beyond, ', ')));
  end if;
  -- A token is never worth more than the one it was made with; for others an administrator may go beyond its own.
  v_beyond := array(select s from unnest(p_scopes) s where not auth.has_scope(s));
  if v_beyond <> '{}' and (p_principal_id = v_asker or not auth.is_admin()) then
    perform auth.refuse('FORBIDDEN', format('Your token does not have %s itself.', array_to_string(v_beyond, ', ')));
  end if;
  -- Chats and sync rows are private: whoever could mint such a token later could read them in the owner's name. Somebody
  -- whom an identity provider vouches for signs in without any token, so there a first one may come at any time, too late.
  if auth.is_request() and p_principal_id is distinct from v_asker and p_scopes && array['chat', 'sync']
     and (v_principal.external_id is not null or exists (select from auth.tokens t where t.principal_id = p_principal_id)) then
    perform auth.refuse('FORBIDDEN',
      'Tokens with chat or sync are made by their own principal, except the first one of a principal without an identity provider.');
  end if;
  if p_expires_at <= clock_timestamp() then
    perform auth.refuse('INVALID', format('Expected an expiry in the future, got %s.', p_expires_at));
  end if;
  insert into auth.tokens (principal_id, name, hash, scopes, expires_at)
  values (p_principal_id, p_name, p_hash, array(select distinct unnest(p_scopes)), p_expires_at)
  returning id into v_id;
  return v_id;
end
$$;
comment on function auth.create_token is
  'Stores a token by its SHA-256: for oneself with scopes that one''s own token has, for others as admin. Never more than the principal may.';

create function auth.revoke_token(p_token_id uuid) returns uuid
language plpgsql security definer
set search_path = ''
as $$
begin
  update auth.tokens set revoked_at = coalesce(revoked_at, now())
  where id = p_token_id and (principal_id = auth.current_principal_id() or auth.is_admin());
  if not found then
    perform auth.refuse('NOT_FOUND', format('You have no token with the id %s.', coalesce(p_token_id::text, 'null')));
  end if;
  return p_token_id;
end
$$;
comment on function auth.revoke_token is 'Ends a token, one''s own or as admin any; again changes nothing.';

-- ---- spaces ----------------------------------------------------------------------------------------------------------

create function auth.require_space_owner(p_space_id text) returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if not auth.is_request() then
    return;
  elsif not exists (select from auth.space_members where space_id = p_space_id and principal_id = auth.current_principal_id()) then
    perform auth.refuse('NOT_FOUND', format('You are in no space with the id %L.', left(p_space_id, 80)));
  elsif not exists (
    select from auth.space_members where space_id = p_space_id and principal_id = auth.current_principal_id() and role = 'owner'
  ) then
    perform auth.refuse('FORBIDDEN', 'Only an owner of the space may do this.');
  end if;
end
$$;

create function auth.save_space(p_id text, p_name text) returns auth.spaces
language plpgsql security definer
set search_path = ''
as $$
declare
  v_space auth.spaces;
begin
  insert into auth.spaces (id, name) values (p_id, p_name) on conflict (id) do nothing returning * into v_space;
  if found then
    if auth.current_principal_id() is not null then
      insert into auth.space_members (space_id, principal_id, role) values (p_id, auth.current_principal_id(), 'owner');
    end if;
    return v_space;
  end if;
  perform auth.require_space_owner(p_id);
  update auth.spaces set name = p_name where id = p_id returning * into v_space;
  return v_space;
end
$$;
comment on function auth.save_space is 'Makes a space, whose owner the caller becomes, or renames it as its owner.';

create function auth.set_space_member(p_space_id text, p_principal_id uuid, p_role text) returns auth.spaces
language plpgsql security definer
set search_path = ''
as $$
declare
  v_space auth.spaces;
begin
  select * into v_space from auth.spaces where id = p_space_id for no key update;
  perform auth.require_space_owner(p_space_id);
  if v_space.id is null then
    perform auth.refuse('NOT_FOUND', format('No space has the id %L.', left(p_space_id, 80)));
  end if;
  perform auth.get_principal(p_principal_id);
  if p_role is distinct from 'owner' and not exists (
    select from auth.space_members where space_id = p_space_id and role = 'owner' and principal_id <> p_principal_id
  ) and exists (
    select from auth.space_members where space_id = p_space_id and role = 'owner' and principal_id = p_principal_id
  ) then
    perform auth.refuse('INVALID', 'A space keeps at least one owner: make another one first.');
  end if;
  if p_role is null then
    delete from auth.space_members where space_id = p_space_id and principal_id = p_principal_id;
    if not found then
      perform auth.refuse('NOT_FOUND', 'That principal is not in the space.');
    end if;
  else
    insert into auth.space_members as m (space_id, principal_id, role) values (p_space_id, p_principal_id, p_role)
    on conflict (space_id, principal_id) do update set role = excluded.role where m.role <> excluded.role;
  end if;
  return v_space;
end
$$;
comment on function auth.set_space_member is 'Gives a principal a role in a space, or none (null). Needs an owner of the space.';

-- ---- who may call what -----------------------------------------------------------------------------------------------

revoke execute on all functions in schema auth from public;
grant execute on function auth.current_principal_id, auth.current_space_ids, auth.current_scopes, auth.is_request, auth.has_scope,
  auth.is_admin, auth.authenticate, auth.touch_token, auth.principal_for_subject, auth.create_principal, auth.update_principal,
  auth.set_principal_disabled, auth.create_token, auth.revoke_token, auth.save_space, auth.set_space_member
to treeline_runtime;
