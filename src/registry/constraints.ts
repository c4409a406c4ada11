import type { ConstraintMeaning } from '../db/refusals.ts';

/** The registry's constraints as their violation reads to the caller: what was expected, and what to do. */
export const registryConstraints: Readonly<Record<string, ConstraintMeaning>> = {
  projects_slug_key: {
    code: 'CONFLICT',
    field: 'slug',
    message: 'Another project has this slug: choose another, or leave it out to get a free one.',
  },
  projects_remote_key_key: {
    code: 'CONFLICT',
    field: 'remoteOrigin',
    message: 'Another project has this remote: a repository is one project.',
  },
  projects_url_id_key: { code: 'CONFLICT', field: 'urlId', message: 'Another project has this urlId: choose another.' },
  projects_slug_check: {
    code: 'INVALID',
    field: 'slug',
    message: 'Expected a slug of 1 to 100 lower-case letters, digits, dots, hyphens and underscores.',
  },
  projects_name_check: { code: 'INVALID', field: 'name', message: 'Expected a name of 1 to 200 characters.' },
  projects_status_check: { code: 'INVALID', field: 'status', message: 'Expected a known project status.' },
  projects_default_branch_check: {
    code: 'INVALID',
    field: 'defaultBranch',
    message: 'Expected a branch name of 1 to 500 bytes.',
  },
  projects_remote_origin_check: {
    code: 'INVALID',
    field: 'remoteOrigin',
    message: 'Expected a remote of at most 2,000 bytes.',
  },
  projects_kinds_check: { code: 'INVALID', field: 'kinds', message: 'Expected at least one kind.' },
  projects_metadata_check: { code: 'INVALID', field: 'metadata', message: 'Expected metadata as a JSON object.' },
  project_links_parts_check: {
    code: 'INVALID',
    message: 'Expected refType, refId and rel, none of them empty, of at most 2,000 bytes together.',
  },
  project_checkouts_trunk_path_check: {
    code: 'INVALID',
    field: 'trunkPath',
    message: 'Expected a path of 1 to 2,400 bytes.',
  },
  project_members_role_check: { code: 'INVALID', field: 'role', message: 'Expected owner, editor or viewer.' },
  hosts_name_check: {
    code: 'INVALID',
    field: 'host',
    message: 'Expected a host name of letters, digits, dots, colons, hyphens and underscores.',
  },
  worktree_types_name_key: {
    code: 'CONFLICT',
    field: 'name',
    message: 'A worktree type of this name exists: choose another name.',
  },
  worktree_types_name_check: {
    code: 'INVALID',
    field: 'name',
    message: 'Expected a name of 1 to 63 lower-case letters, digits, dots, hyphens and underscores.',
  },
  worktree_types_color_check: { code: 'INVALID', field: 'color', message: 'Expected a colour such as #10B981.' },
  worktrees_host_id_path_key: {
    code: 'CONFLICT',
    field: 'path',
    message: 'Another active worktree of this host has this path: deactivate it, or report the right path.',
  },
  worktrees_name_check: { code: 'INVALID', field: 'name', message: 'Expected a name of 1 to 500 bytes.' },
  worktrees_branch_name_check: {
    code: 'INVALID',
    field: 'branchName',
    message: 'Expected a branch name of 1 to 500 bytes.',
  },
  worktrees_base_branch_check: {
    code: 'INVALID',
    field: 'baseBranch',
    message: 'Expected a branch name of 1 to 500 bytes.',
  },
  worktrees_path_check: { code: 'INVALID', field: 'path', message: 'Expected a path of 1 to 2,400 bytes.' },
  worktrees_agent_id_check: { code: 'INVALID', field: 'agentId', message: 'Expected an agent of 1 to 500 bytes.' },
  worktrees_merge_commit_check: {
    code: 'INVALID',
    field: 'mergeCommit',
    message: 'Expected a commit as 40 or 64 hexadecimal digits.',
  },
  worktree_claims_agent_id_check: {
    code: 'INVALID',
    field: 'agentId',
    message: 'Expected an agent of 1 to 500 bytes.',
  },
  worktree_claims_session_check: {
    code: 'INVALID',
    field: 'session',
    message: 'Expected a session of at most 500 bytes.',
  },
};
