-- Why: the registry itself: projects, the hosts that have them, worktrees, claims and what agents did.
-- Locks: nothing but the new objects, and auth.project_members briefly for its foreign key.

-- ---- refusals --------------------------------------------------------------------------------------------------------

-- One way to say no. DETAIL begins with a stable code, followed by a JSON object of facts where there are any, so that
-- the gateway maps errors without reading prose and psql users see the same message.
create function registry.refuse(p_code text, p_message text, p_details jsonb default null) returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    message = p_message,
    detail = p_code || coalesce(' ' || p_details::text, ''),
    errcode = case p_code
      when 'NOT_FOUND' then 'P0002'
      when 'CONFLICT' then '23505'
      when 'FORBIDDEN' then '42501'
      when 'CLAIMED' then '55006'
      when 'IN_USE' then '55006'
      when 'INVALID' then '22023'
      else '55000'
    end;
end
$$;
comment on function registry.refuse is 'Raises a refusal: DETAIL is its stable code, then facts as JSON.';

-- ---- remotes ---------------------------------------------------------------------------------------------------------

-- A URL's userinfo is a secret more often than not. ssh needs the user's name, http does not.
create function registry.strip_credentials(p_remote text) returns text
language sql immutable strict parallel safe
set search_path = ''
as $$
  select case
    when p_remote ~* '^\s*(https?|git|file)://' then regexp_replace(btrim(p_remote), '^([A-Za-z]+://)[^/?#]*@', '\1')
    when p_remote ~* '^\s*ssh://' then regexp_replace(btrim(p_remote), '^([A-Za-z]+://[^/@:]*)(:[^/]*)?@', '\1@')
    else btrim(p_remote)
  end
$$;
comment on function registry.strip_credentials is 'The remote without passwords and tokens, as it may be stored and shown.';

create function registry.normalize_remote(p_remote text) returns text
language plpgsql immutable strict parallel safe
set search_path = ''
as $$
declare
  -- Never the raw text: an error message ends in logs, and the raw text may hold a password.
  v_remote text := registry.strip_credentials(p_remote);
  v_shown text := case when v_remote ~ ':[^/]*@' then 'a remote with credentials' else quote_literal(left(v_remote, 200)) end;
  v_parts text[];
  v_scheme text;
  v_host text;
  v_port text;
  v_path text;
begin
  v_parts := regexp_match(v_remote, '^([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?(\[[0-9A-Fa-f:.]+\]|[^/:@\s]*)(?::([0-9]{1,5}))?/(.*)$');
  if v_parts is not null then
    v_scheme := lower(v_parts[1]);
    v_host := lower(v_parts[2]);
    v_port := v_parts[3];
    v_path := v_parts[4];
    if v_scheme not in ('ssh', 'https', 'http', 'git', 'file') then
      perform registry.refuse('INVALID', format('Expected a remote over ssh, https, http, git or file, got %s.', v_shown));
    end if;
    if v_scheme = 'file' and v_host = '' then
      v_host := 'localhost';
    end if;
    if v_port is not null and v_port::int <> (
      case v_scheme when 'ssh' then 22 when 'https' then 443 when 'http' then 80 when 'git' then 9418 else -1 end
    ) then
      v_host := v_host || ':' || v_port::int;
    end if;
  elsif v_remote !~ '://' then
    -- scp-like: no slash before the first colon. One letter before it is a Windows drive, not a host.
    v_parts := regexp_match(v_remote, '^(?:[^/:@\s]+@)?(\[[0-9A-Fa-f:.]+\]|[^/:@\s]{2,}):(.*)$');
    v_host := lower(v_parts[1]);
    v_path := v_parts[2];
    if v_path ~ '^[^/]*@[^/]*:' then
      v_host := null;
    end if;
  end if;

  v_path := regexp_replace(v_path, '/+', '/', 'g');
  v_path := regexp_replace(v_path, '^/', '');
  v_path := regexp_replace(v_path, '/$', '');
  v_path := regexp_replace(v_path, '\.git$', '');
  v_path := regexp_replace(v_path, '/$', '');
  if v_host is null or v_host = '' or v_path is null or v_path in ('', '~') or v_path ~ '[[:cntrl:]?#]' then
    perform registry.refuse('INVALID', format(
      'Expected a git remote such as git@github.com:owner/name.git or https://host/owner/name, got %s.', v_shown));
  end if;
  return v_host || '/' || v_path;
end
$$;
comment on function registry.normalize_remote is
  'The identity of a repository, host/path, the same for all spellings of its remote; refuses what is no remote.';

create function registry.slugify(p_name text) returns text
language sql immutable strict parallel safe
set search_path = ''
as $$
  select coalesce(nullif(left(btrim(regexp_replace(regexp_replace(
    lower(normalize(p_name, nfkd)), '[\u0300-\u036f]', '', 'g'), '[^a-z0-9]+', '-', 'g'), '-'), 80), ''), 'project')
$$;
comment on function registry.slugify is 'A name as a slug: lower-case ASCII letters, digits and single hyphens.';

-- ---- metadata of the schema itself -----------------------------------------------------------------------------------

create table registry.metadata (
  key text primary key,
  value text not null
);
comment on table registry.metadata is 'Facts about the schema; schema_version is semantic and raised by migrations.';
insert into registry.metadata (key, value) values ('schema_version', '1.0.0');

-- ---- projects --------------------------------------------------------------------------------------------------------

create table registry.projects (
  id uuid primary key default gen_random_uuid(),
  slug text not null,
  name text not null,
  description text,
  kinds text[] not null default '{project}',
  status text not null default 'active',
  remote_origin text,
  remote_key text generated always as (registry.normalize_remote(remote_origin)) stored,
  default_branch text not null default 'main',
  trunk_path text,
  url_id text,
  owner_id uuid,
  managed_by text[] not null default '{}',
  unclassified boolean not null default false,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  -- Stored by name: PostgreSQL 18 makes generated columns virtual unless told otherwise, and those cannot be indexed.
  active boolean not null generated always as (deleted_at is null) stored,
  search_text text not null generated always as (
    lower(name || ' ' || slug || ' ' || coalesce(remote_origin, '') || ' ' || left(coalesce(description, ''), 2000))
  ) stored,
  constraint projects_slug_key unique (slug),
  constraint projects_remote_key_key unique (remote_key),
  constraint projects_url_id_key unique (url_id),
  constraint projects_owner_id_fkey foreign key (owner_id) references auth.principals (id) on delete set null,
  constraint projects_slug_check check (slug ~ '^[a-z0-9][a-z0-9._-]{0,99}$'),
  constraint projects_name_check check (btrim(name) <> '' and length(name) <= 200),
  constraint projects_status_check check (status in ('draft', 'active', 'published', 'sleeping', 'done', 'archived')),
  constraint projects_default_branch_check check (btrim(default_branch) <> '' and octet_length(default_branch) <= 500),
  constraint projects_remote_origin_check check (octet_length(remote_origin) <= 2000),
  constraint projects_kinds_check check (cardinality(kinds) > 0 and array_position(kinds, null) is null),
  constraint projects_metadata_check check (jsonb_typeof(metadata) = 'object')
);
comment on table registry.projects is 'What the fleet works on: one row per repository, plan or scratch project.';
comment on column registry.projects.remote_key is 'host/path of the remote: one identity for all its spellings.';

create index idx_projects_active on registry.projects (name, id) where active;
create index idx_projects_name on registry.projects (name, id);
create index idx_projects_owner_id on registry.projects (owner_id);
create index idx_projects_unclassified on registry.projects (name, id) where unclassified;
create index idx_projects_remote_origin_trgm on registry.projects using gin (remote_origin public.gin_trgm_ops);
create index idx_projects_search_trgm on registry.projects using gin (search_text public.gin_trgm_ops);
-- What a search term begins is found first, whatever the database's collation.
create index idx_projects_slug_prefix on registry.projects (slug text_pattern_ops);
create index idx_projects_name_prefix on registry.projects (lower(name) text_pattern_ops);
create index idx_projects_managed_by on registry.projects using gin (managed_by);
create index idx_projects_kinds on registry.projects using gin (kinds);
create index idx_projects_metadata on registry.projects using gin (metadata);

create table registry.project_parents (
  project_id uuid not null references registry.projects (id) on delete cascade,
  parent_id uuid not null references registry.projects (id) on delete cascade,
  primary key (project_id, parent_id),
  constraint project_parents_self_check check (project_id <> parent_id)
);
comment on table registry.project_parents is 'Projects within projects: a directed acyclic graph.';
create index idx_project_parents_parent_id on registry.project_parents (parent_id, project_id);

create table registry.project_links (
  project_id uuid not null references registry.projects (id) on delete cascade,
  ref_type text not null,
  ref_id text not null,
  rel text not null,
  created_at timestamptz not null default now(),
  primary key (project_id, ref_type, ref_id, rel),
  constraint project_links_parts_check check (
    btrim(ref_type) <> '' and btrim(ref_id) <> '' and btrim(rel) <> ''
    and octet_length(ref_type) + octet_length(ref_id) + octet_length(rel) <= 2000)
);
comment on table registry.project_links is 'Ties a project to things elsewhere: an issue tracker, a mirrored row.';
create index idx_project_links_ref on registry.project_links (ref_type, ref_id);

alter table auth.project_members
  add constraint project_members_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade;

-- ---- hosts -----------------------------------------------------------------------------------------------------------

create table registry.hosts (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  platform text,
  labels jsonb not null default '{}',
  last_seen_at timestamptz,
  constraint hosts_name_key unique (name),
  constraint hosts_name_check check (name ~ '^[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?$'),
  constraint hosts_labels_check check (jsonb_typeof(labels) = 'object')
);
comment on table registry.hosts is 'The machines that have checkouts.';
insert into registry.hosts (name) values ('local');

create table registry.project_checkouts (
  project_id uuid not null references registry.projects (id) on delete cascade,
  host_id uuid not null references registry.hosts (id) on delete cascade,
  trunk_path text not null,
  primary key (project_id, host_id),
  constraint project_checkouts_trunk_path_check check (trunk_path <> '' and octet_length(trunk_path) <= 2400)
);
comment on table registry.project_checkouts is 'Where a host has a project.';
create index idx_project_checkouts_host_id on registry.project_checkouts (host_id, trunk_path);

-- ---- worktree types --------------------------------------------------------------------------------------------------

create table registry.worktree_types (
  id int primary key generated always as identity,
  name text not null,
  branch_prefix text not null,
  worktree_prefix text not null,
  description text,
  color text not null default '#6B7280',
  icon text,
  is_builtin boolean not null default false,
  metadata jsonb not null default '{}',
  constraint worktree_types_name_key unique (name),
  constraint worktree_types_name_check check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  constraint worktree_types_color_check check (color ~ '^#[0-9A-Fa-f]{6}$'),
  constraint worktree_types_metadata_check check (jsonb_typeof(metadata) = 'object')
);
comment on table registry.worktree_types is 'What a worktree is for; its prefixes let a scanner tell.';
create index idx_worktree_types_metadata on registry.worktree_types using gin (metadata);

insert into registry.worktree_types (name, branch_prefix, worktree_prefix, color, description, is_builtin) values
  ('feat', 'feat/', 'feat-', '#10B981', 'Feature development', true),
  ('fix', 'fix/', 'fix-', '#EF4444', 'Bug fixes', true),
  ('aiops', 'aiops/', 'aiops-', '#8B5CF6', 'Agents, rules, workflows', true),
  ('devops', 'devops/', 'devops-', '#3B82F6', 'CI, deploys', true),
  ('review', 'pr-review/', 'pr-', '#F59E0B', 'Pull request reviews', true),
  ('trunk', '', 'trunk-', '#6B7280', 'The main branch', true);

-- ---- worktrees -------------------------------------------------------------------------------------------------------

create table registry.worktrees (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null,
  host_id uuid not null,
  type_id int not null,
  name text not null,
  branch_name text not null,
  base_branch text,
  path text not null,
  repository_path text,
  agent_id text,
  agent_state text not null default 'unknown',
  agent_state_at timestamptz,
  has_uncommitted_changes boolean not null default false,
  uncommitted_files_count int not null default 0,
  ahead_of_trunk int not null default 0,
  behind_trunk int not null default 0,
  head_commit text,
  merge_base text,
  last_commit_message text,
  last_commit_at timestamptz,
  git_observed_at timestamptz,
  last_sync_at timestamptz,
  merged_at timestamptz,
  merged_by text,
  merge_commit text,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  active boolean not null default true,
  in_flight boolean not null generated always as (
    active and merged_at is null and (uncommitted_files_count > 0 or ahead_of_trunk > 0)
  ) stored,
  status text not null generated always as (
    case
      when merged_at is not null then 'merged'
      when not active then 'inactive'
      when uncommitted_files_count > 0 then 'uncommitted'
      when ahead_of_trunk > 0 and behind_trunk > 0 then 'diverged'
      when ahead_of_trunk > 0 then 'ahead'
      when behind_trunk > 0 then 'behind'
      else 'clean'
    end
  ) stored,
  constraint worktrees_project_id_fkey foreign key (project_id) references registry.projects (id) on delete cascade,
  constraint worktrees_host_id_fkey foreign key (host_id) references registry.hosts (id) on delete restrict,
  constraint worktrees_type_id_fkey foreign key (type_id) references registry.worktree_types (id) on delete restrict,
  constraint worktrees_project_id_host_id_name_key unique (project_id, host_id, name),
  constraint worktrees_name_check check (btrim(name) <> '' and octet_length(name) <= 500),
  constraint worktrees_branch_name_check check (btrim(branch_name) <> '' and octet_length(branch_name) <= 500),
  constraint worktrees_base_branch_check check (btrim(base_branch) <> '' and octet_length(base_branch) <= 500),
  -- A B-tree holds at most about 2,700 bytes a row.
  constraint worktrees_path_check check (path <> '' and octet_length(path) <= 2400),
  constraint worktrees_agent_id_check check (btrim(agent_id) <> '' and octet_length(agent_id) <= 500),
  constraint worktrees_agent_state_check check (agent_state in ('working', 'waiting', 'idle', 'unknown')),
  constraint worktrees_counts_check check (uncommitted_files_count >= 0 and ahead_of_trunk >= 0 and behind_trunk >= 0),
  constraint worktrees_uncommitted_check check (has_uncommitted_changes = (uncommitted_files_count > 0)),
  constraint worktrees_head_commit_check check (head_commit ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
  constraint worktrees_merge_base_check check (merge_base ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
  constraint worktrees_merge_commit_check check (merge_commit ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
  constraint worktrees_metadata_check check (jsonb_typeof(metadata) = 'object')
) with (fillfactor = 85);
comment on table registry.worktrees is 'A checkout of one branch of a project on one host, and its git state.';
comment on column registry.worktrees.in_flight is 'The one definition of work in flight: active, not merged, uncommitted files or commits ahead.';
comment on column registry.worktrees.git_observed_at is 'When the stored git state was seen; an older report is dropped.';

create unique index worktrees_host_id_path_key on registry.worktrees (host_id, path) where active;
create index idx_worktrees_project_id on registry.worktrees (project_id, updated_at desc, id desc);
create index idx_worktrees_host_id on registry.worktrees (host_id, updated_at desc, id desc);
create index idx_worktrees_type_id on registry.worktrees (type_id);
create index idx_worktrees_updated_at on registry.worktrees (updated_at desc, id desc);
create index idx_worktrees_created_at on registry.worktrees (created_at desc, id desc);
create index idx_worktrees_name on registry.worktrees (name, id);
create index idx_worktrees_in_flight on registry.worktrees (updated_at desc, id desc) where in_flight;
create index idx_worktrees_in_flight_behind on registry.worktrees (behind_trunk desc, id desc) where in_flight;
create index idx_worktrees_uncommitted on registry.worktrees (project_id, updated_at desc) where has_uncommitted_changes and active;
create index idx_worktrees_unmerged on registry.worktrees (project_id, updated_at desc) where merged_at is null and ahead_of_trunk > 0 and active;
create index idx_worktrees_agent_id on registry.worktrees (agent_id, updated_at desc, id desc) where agent_id is not null;
create index idx_worktrees_repository on registry.worktrees (host_id, repository_path) where active;
create index idx_worktrees_inactive on registry.worktrees (updated_at) where not active;
create index idx_worktrees_metadata on registry.worktrees using gin (metadata);

create table registry.worktree_files (
  worktree_id uuid not null references registry.worktrees (id) on delete cascade,
  path text not null,
  previous_path text,
  change text not null,
  additions int,
  deletions int,
  base_lines int4multirange,
  primary key (worktree_id, path),
  constraint worktree_files_path_check check (path <> '' and octet_length(path) <= 2400),
  constraint worktree_files_change_check check (change in ('A', 'M', 'D', 'R', '?', 'U')),
  constraint worktree_files_counts_check check (additions >= 0 and deletions >= 0)
);
comment on table registry.worktree_files is 'What a worktree changes against its merge base, committed or not.';
comment on column registry.worktree_files.base_lines is 'Lines of the merge base that the change touches.';
-- The overlap radar joins worktrees by the files they share.
create index idx_worktree_files_path on registry.worktree_files (path, worktree_id);

-- ---- claims ----------------------------------------------------------------------------------------------------------

create table registry.worktree_claims (
  worktree_id uuid primary key references registry.worktrees (id) on delete cascade,
  agent_id text,
  session text,
  fence bigint not null default 1,
  acquired_at timestamptz not null,
  renewed_at timestamptz not null,
  expires_at timestamptz not null,
  constraint worktree_claims_agent_id_check check (btrim(agent_id) <> '' and octet_length(agent_id) <= 500),
  constraint worktree_claims_session_check check (octet_length(session) <= 500)
);
comment on table registry.worktree_claims is
  'Who works in a worktree: a lease. The row stays when nobody does, so that the fence never starts over.';
create index idx_worktree_claims_agent_id on registry.worktree_claims (agent_id) where agent_id is not null;

-- ---- activities ------------------------------------------------------------------------------------------------------

create table registry.agent_activities (
  id uuid not null default gen_random_uuid(),
  agent_id text not null,
  worktree_id uuid not null,
  -- No foreign key: principals are never deleted, and one more index on every activity would buy nothing.
  principal_id uuid,
  activity_type text not null,
  file_path text,
  description text not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (id, created_at),
  constraint agent_activities_worktree_id_fkey foreign key (worktree_id) references registry.worktrees (id) on delete cascade,
  constraint agent_activities_agent_id_check check (btrim(agent_id) <> '' and octet_length(agent_id) <= 500),
  constraint agent_activities_type_check check (
    activity_type in ('created', 'modified', 'deleted', 'committed', 'pushed', 'merged', 'synced', 'other')),
  constraint agent_activities_description_check check (octet_length(description) <= 20000),
  constraint agent_activities_metadata_check check (jsonb_typeof(metadata) = 'object')
) partition by range (created_at);
comment on table registry.agent_activities is 'What agents did. Append-only; retention drops whole months.';

create table registry.agent_activities_default partition of registry.agent_activities default;
create index idx_agent_activities_worktree_id on registry.agent_activities (worktree_id, created_at desc, id desc);
create index idx_agent_activities_agent_id on registry.agent_activities (agent_id, created_at desc, id desc);
create index idx_agent_activities_created_at on registry.agent_activities (created_at desc, id desc);
create index idx_agent_activities_metadata on registry.agent_activities using gin (metadata);

-- ---- who may touch what ----------------------------------------------------------------------------------------------

-- The gateway reads tables and writes through functions only, so that no request can do what no function allows.
grant usage on schema registry to treeline_runtime;
grant select on registry.projects, registry.project_parents, registry.project_links, registry.project_checkouts,
  registry.hosts, registry.worktree_types, registry.worktrees, registry.worktree_files, registry.worktree_claims,
  registry.agent_activities, registry.metadata to treeline_runtime;
