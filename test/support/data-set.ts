import type pg from 'pg';

/** How much of everything; the benchmark's own sizes are 1,000, 10,000 and 1,000,000. */
export interface DataSetSize {
  projects: number;
  worktrees: number;
  activities: number;
}

/**
 * Fills an empty registry with a made-up fleet, in SQL and the same every time: 20 hosts, 200 agents, worktrees of all
 * types and states (three in ten are in flight), activities over the last 85 days. Runs as the owner.
 */
export async function makeDataSet(
  client: pg.Pool | pg.Client,
  { projects, worktrees, activities }: DataSetSize,
): Promise<void> {
  await client.query(`insert into registry.hosts (name, platform, last_seen_at)
    select 'host-' || n, 'linux', now() from generate_series(1, 20) n`);
  await client.query(
    `insert into registry.projects (slug, name, description, remote_origin, metadata, created_at, updated_at)
     select 'project-' || n, initcap(words[1 + n % 8]) || ' ' || words[1 + n / 8 % 8] || ' ' || n,
       'Everything about ' || words[1 + n % 8] || ' for the ' || words[1 + n / 64 % 8] || ' team.',
       'git@git.example.com:team-' || n % 50 || '/' || words[1 + n % 8] || '-' || n || '.git',
       jsonb_build_object('tier', n % 4), now() - make_interval(mins => n), now() - make_interval(mins => n)
     from generate_series(1, $1::int) n,
       (select array['billing', 'search', 'gateway', 'mobile', 'ledger', 'console', 'pipeline', 'renderer'] as words) w`,
    [projects],
  );
  await client.query(
    `insert into registry.worktrees (project_id, host_id, type_id, name, branch_name, path, agent_id, agent_state,
       uncommitted_files_count, ahead_of_trunk, behind_trunk, head_commit, last_commit_message, last_commit_at,
       git_observed_at, last_sync_at, metadata, created_at, updated_at, active)
     select p.id, h.id, 1 + n % 6, 'worktree-' || n, 'feat/branch-' || n, '/srv/checkouts/worktree-' || n, 'agent-' || n % 200,
       (array['working', 'waiting', 'idle', 'unknown'])[1 + n % 4],
       case when n % 10 < 2 then 1 + n % 7 else 0 end, case when n % 10 in (1, 2) then 1 + n % 5 else 0 end, n % 13,
       md5(n::text) || left(md5((-n)::text), 8), 'Change number ' || n, now() - make_interval(secs => n * 7),
       now(), now(), jsonb_build_object('ticket', n), now() - make_interval(secs => n * 11), now() - make_interval(secs => n * 7),
       n % 20 <> 19
     from generate_series(1, $1::int) n
     join lateral (select id from registry.projects where slug = 'project-' || 1 + n % $2::int) p on true
     join lateral (select id from registry.hosts where name = 'host-' || 1 + n % 20) h on true`,
    [worktrees, projects],
  );
  await client.query('select registry.ensure_activity_partitions(3)');
  await client.query(
    `insert into registry.agent_activities (agent_id, worktree_id, activity_type, file_path, description, metadata, created_at)
     select w.agent_id, w.id,
       (array['created', 'modified', 'deleted', 'committed', 'pushed', 'merged', 'synced', 'other'])[1 + n % 8],
       'src/module-' || n % 97 || '.ts', 'Step ' || n || ' of the work', jsonb_build_object('step', n % 100),
       now() - make_interval(secs => (n::bigint * 7919 % 7344000)::int)
     from generate_series(1, $1::int) n
     join (select id, agent_id, row_number() over (order by path) - 1 as place from registry.worktrees) w on w.place = n % $2::int`,
    [activities, worktrees],
  );
  await client.query(
    'vacuum (analyze) registry.projects, registry.worktrees, registry.agent_activities, registry.hosts',
  );
}
