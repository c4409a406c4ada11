/**
 * The limit: `node:http` and one statement, no GraphQL, no authentication, no checks. The statement is written by hand to
 * answer the same JSON as the gateway; what the gateway costs above this is what it does for its users.
 */
import { createServer } from 'node:http';
import pg from 'pg';

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.TREELINE_POOL_SIZE ?? 10),
  options: '-c timezone=UTC -c jit=off',
});

const dashboard = `
  select json_build_object('data', json_build_object('inFlightWork', json_build_object('nodes', (
    select coalesce(json_agg(w), '[]') from (
      select w.id, w.name, w.branch_name as "branchName", w.path, w.agent_id as "agentId", upper(w.agent_state) as "agentState",
        upper(w.status) as status,
        json_build_object('hasUncommittedChanges', w.has_uncommitted_changes, 'uncommittedFilesCount', w.uncommitted_files_count,
          'aheadOfTrunk', w.ahead_of_trunk, 'behindTrunk', w.behind_trunk, 'lastCommitMessage', w.last_commit_message,
          'lastCommitAt', w.last_commit_at) as "gitState",
        (select json_build_object('id', p.id, 'name', p.name, 'slug', p.slug) from registry.projects p where p.id = w.project_id) as project,
        (select json_build_object('name', t.name, 'color', t.color) from registry.worktree_types t where t.id = w.type_id) as type,
        (select json_build_object('name', h.name) from registry.hosts h where h.id = w.host_id) as host,
        json_build_object('nodes', (select coalesce(json_agg(a), '[]') from (
          select a.id, a.agent_id as "agentId", upper(a.activity_type) as type, a.description, a.created_at as "createdAt"
          from registry.agent_activities a where a.worktree_id = w.id order by a.created_at desc, a.id desc limit 3
        ) a)) as activities
      from registry.worktrees w where w.in_flight order by w.updated_at desc, w.id desc limit 50
    ) w
  ))))::text as body`;

const gitState = `
  select json_build_object('worktreeId', (r.worktree).id, 'changed', r.outcome = 'changed')::text as body
  from registry.update_worktree_git_state($1::uuid, p_uncommitted_count => $2::int, p_ahead => $3::int,
    p_last_commit_hash => $4, p_observed_at => $5::timestamptz) as r`;

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  const { rows } =
    request.url === '/dashboard'
      ? await pool.query({ name: 'dashboard', text: dashboard })
      : await pool.query({ name: 'git-state', text: gitState, values: JSON.parse(text) as unknown[] });
  response.writeHead(200, { 'content-type': 'application/json' }).end((rows[0] as { body: string }).body);
});

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}\n`);
});
