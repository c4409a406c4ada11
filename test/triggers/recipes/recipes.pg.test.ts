import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSecret } from '../../../src/triggers/secret.ts';
import { rows } from '../../support/sql.ts';
import { type Watch, watch } from '../../support/watch.ts';
import { type Receiver, startReceiver } from '../receiver.ts';
import { type Manual, openManual } from './document.ts';
import { deliver, ping, pullRequest, push } from './github.ts';
import { type Finished, finished, gateway, project, saved, sql, worktree } from './setting.ts';

describe('GitHub says that a branch is merged', () => {
  let recipe: Manual;
  let script: string;
  let secret: string;
  let url: string;
  let projectId: string;
  let ends: Watch<Finished>;
  beforeAll(async () => {
    recipe = await openManual('recipes/github-merges');
    // As people clone it, not as GitHub spells it.
    projectId = await project('Shop', 'ssh://git@github.com/acme/shop');
    script = await saved(recipe);
    const { saveRoute } = await recipe.run<{ saveRoute: { route: { path: string }; secret: string } }>(
      gateway,
      'SaveRoute',
      { script },
    );
    secret = saveRoute.secret;
    url = gateway.url + saveRoute.route.path;
    ends = await watch(gateway, finished, { script });
  });
  afterAll(() => ends.close());

  /** How the execution ended that a delivery set off. */
  async function told(event: string, payload: object, form = false): Promise<Finished['execution']> {
    expect(await deliver(url, { event, payload, secret, form })).toBe(202);
    return (await ends.next()).execution;
  }
  const merged = async () =>
    (
      await rows<{ branch_name: string; merged_by: string | null; merge_commit: string | null }>(
        gateway.database.owner,
        'select branch_name, merged_by, merge_commit from registry.worktrees where merged_at is not null order by merged_at',
      )
    ).map(({ branch_name, merged_by, merge_commit }) => [branch_name, merged_by, merge_commit?.slice(0, 7)]);

  test.each([
    ['a ping', 'ping', ping],
    [
      'a pull request that is opened',
      'pull_request',
      pullRequest({ branch: 'feat/none', action: 'opened', merged: false }),
    ],
    ['one that is closed without a merge', 'pull_request', pullRequest({ branch: 'feat/none', merged: false })],
    ['one into another branch', 'pull_request', pullRequest({ branch: 'feat/none', base: 'release' })],
    ['one from a fork', 'pull_request', pullRequest({ branch: 'feat/none', fork: true })],
    ['a push to another branch', 'push', push('refs/heads/release', "Merge branch 'feat/none' into release")],
    ['a push of ordinary commits', 'push', push('refs/heads/trunk', 'Mention feat/none')],
    ['a push after a pull', 'push', push('refs/heads/trunk', "Merge branch 'trunk' of github.com:acme/shop")],
    [
      'a deleted branch',
      'push',
      { ...push('refs/heads/feat/none', ''), deleted: true, head_commit: null, commits: [] },
    ],
  ])('%s changes nothing, and nothing fails', async (_case, event, payload) => {
    await worktree(projectId, 'feat/none');
    expect(await told(event, payload)).toEqual({ status: 'SUCCEEDED', error: null, result: {} });
    expect(await merged()).toEqual([]);
  });

  test('what is merged is marked: pull requests and pushed merges, as JSON and as a form, also when told again', async () => {
    const other = await project('Other', 'https://github.com/acme/other');
    for (const branch of ['feat/a', 'feat/b', 'feat/c', 'feat/d', 'feat/e'])
      await worktree(projectId, branch, 'laptop');
    await worktree(other, 'feat/a');
    const marked = {
      status: 'SUCCEEDED',
      error: null,
      result: { markWorktreeMerged: { worktree: expect.anything() } },
    };
    expect(await told('pull_request', pullRequest({ branch: 'feat/a' }))).toEqual(marked);
    expect(await told('pull_request', pullRequest({ branch: 'feat/b' }), true)).toEqual(marked);
    expect(await told('push', push('refs/heads/trunk', "Merge branch 'feat/c'"))).toEqual(marked);
    const remote = push('refs/heads/trunk', "Merge remote-tracking branch 'origin/feat/d' into trunk\n\nBoth are new.");
    expect(await told('push', remote, true)).toEqual(marked);
    const pulled = ['octocat', 'c4295bd'];
    const pushed = ['octocat', '6dcb09b'];
    const expected = [
      ['feat/a', ...pulled],
      ['feat/b', ...pulled],
      ['feat/c', ...pushed],
      ['feat/d', ...pushed],
    ];
    expect(await merged()).toEqual(expected);
    expect(await told('pull_request', pullRequest({ branch: 'feat/a' }))).toEqual(marked);
    expect(await merged()).toEqual(expected);
  });

  test('a request with a signature of somebody else is refused', async () => {
    const payload = pullRequest({ branch: 'feat/e' });
    expect(await deliver(url, { event: 'pull_request', payload, secret: makeSecret() })).toBe(401);
  });

  test("the request that tries it is accepted as it is written, from Treeline's folder", async () => {
    const example = await project('Example', 'git@github.com:example/example.git');
    await worktree(example, 'feat/hello');
    const folder = await mkdtemp(join(tmpdir(), 'treeline-recipe-'));
    await mkdir(join(folder, '.treeline'));
    await writeFile(join(folder, '.treeline', 'gateway'), `${gateway.url}\n`);
    await writeFile(join(folder, 'merged.json'), recipe.block('json', '"merge_commit_sha"'));
    const command = recipe.block('sh', 'openssl').replace('whsec_…', secret);
    const { stdout } = await promisify(execFile)('bash', ['-c', command], { cwd: folder });
    expect(JSON.parse(stdout)).toEqual({ id: expect.any(String) });
    await rm(folder, { recursive: true });
    await ends.next();
    expect(await merged()).toContainEqual(['feat/hello', 'octocat', 'c4295bd']);
    const { executions } = await recipe.run<{ executions: { nodes: object[] } }>(gateway, 'Executions');
    expect(executions.nodes[0]).toEqual({
      script: { name: 'github-merges' },
      status: 'SUCCEEDED',
      result: { markWorktreeMerged: { worktree: { name: 'feat-hello' } } },
      error: null,
    });
  });

  test('the merge of a branch that nobody registered is a dead letter, which a trigger settles', async () => {
    const nothing = await saved(recipe, 'SaveNothing');
    await recipe.run(gateway, 'SettleUnknown', { nothing, script });
    const settled = await watch<Finished>(gateway, finished, { script: nothing });
    expect(await told('pull_request', pullRequest({ branch: 'feat/unknown' }))).toMatchObject({
      status: 'FAILED',
      error: expect.stringContaining('NOT_FOUND'),
    });
    expect((await settled.next()).execution.status).toBe('SUCCEEDED');
    const { deadLetters } = await gateway.ask<{ deadLetters: { nodes: object[] } }>(
      '{ deadLetters(filter: { unresolved: false }) { nodes { attempts resolution } } }',
    );
    expect(deadLetters.nodes).toEqual([{ attempts: 1, resolution: 'HANDLED_BY_SCRIPT' }]);
    await settled.close();
  });
});

describe('a chat hears of abandoned work', () => {
  let chat: Receiver;
  let recipe: Manual;
  beforeAll(async () => {
    chat = await startReceiver();
    recipe = await openManual('recipes/chat-on-lapse', {
      // A chat looks at no signature; this receiver does, so it has to know the secret.
      'url: "https://chat.example.com/hooks/T0123/B4567"': `url: "${chat.url}", secret: "${chat.secret}"`,
    });
    await recipe.run(gateway, 'CreateTrigger', { script: await saved(recipe) });
  });
  afterAll(() => chat.close());

  /** Its claim is over now: what waits for the end of it hears of the new one. */
  const lapse = (id: string) =>
    sql('update registry.worktree_claims set expires_at = clock_timestamp() where worktree_id = $1', [id]);
  const claim = (id: string, agent: string) =>
    sql<bigint>('select (registry.claim_worktree($1, $2)).fence', [id, agent]);

  test('when a claim lapses over uncommitted changes, and not when it is released or nothing is uncommitted', async () => {
    const lapses = await watch<{ claim: unknown; reason: string }>(gateway, 'subscription { claimChanged { reason } }');
    const projectId = await project('Engine', null);
    const [clean, released] = [await worktree(projectId, 'feat/clean'), await worktree(projectId, 'feat/released')];
    await claim(clean, 'agent-2');
    await lapse(clean);
    await lapses.until(({ reason }) => reason === 'LAPSED');
    await sql('select registry.update_worktree_git_state($1, p_uncommitted_count => 1)', [released]);
    await sql('select registry.release_worktree($1, $2)', [released, await claim(released, 'agent-3')]);
    await sql(
      `select registry.register_worktree($1, 'feat', 'feat-hello', 'feat/hello', '/srv/checkouts/feat-hello')`,
      [projectId],
    );
    const { worktree: reference } = JSON.parse(recipe.block('json', '"worktree"')) as { worktree: object };
    await recipe.run(gateway, 'Try', { worktree: reference });
    await lapse(await sql(`select id from registry.worktrees where path = '/srv/checkouts/feat-hello'`));
    const [delivered] = await chat.untilDelivered(1);
    const said = recipe.block('', '').trim();
    expect(delivered).toMatchObject({ refusal: null, payload: { text: said } });
    expect(chat.deliveries).toHaveLength(1);
    await lapses.close();
  });
});

describe('old worktrees go every night', () => {
  test('at the time that the trigger says, and those with work stay', async () => {
    const recipe = await openManual('recipes/nightly-prune');
    const script = await saved(recipe);
    const { createTrigger } = await recipe.run<{ createTrigger: { trigger: { nextDueAt: string } } }>(
      gateway,
      'CreateTrigger',
      { script },
    );
    const clock = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Berlin', timeStyle: 'short' });
    expect(clock.format(new Date(createTrigger.trigger.nextDueAt))).toBe('03:30');

    const projectId = await project('Old', null);
    const [old, unmerged] = [await worktree(projectId, 'feat/old'), await worktree(projectId, 'feat/unmerged')];
    await sql('select registry.update_worktree_git_state($1, p_ahead => 2)', [unmerged]);
    await sql('select registry.deactivate_worktree(w, true) from unnest($1::uuid[]) w', [[old, unmerged]]);
    await sql(`update registry.worktrees set updated_at = now() - interval '8 days' where id = any ($1)`, [
      [old, unmerged],
    ]);
    const ends = await watch<Finished>(gateway, finished, { script });
    await sql(`update triggers.cron_trigger_details set next_due_at = clock_timestamp()`);
    const result = {
      pruneInactiveWorktrees: {
        pruned: [{ name: 'feat-old' }],
        spared: [{ worktree: { name: 'feat-unmerged' }, reason: expect.any(String) }],
      },
    };
    expect((await ends.next()).execution).toEqual({ status: 'SUCCEEDED', error: null, result });
    const { executions } = await recipe.run<{ executions: { nodes: object[] } }>(gateway, 'Nights', { script });
    expect(executions.nodes).toHaveLength(1);
    const { invokeScript } = await recipe.run<{ invokeScript: { result: unknown } }>(gateway, 'Invoke', { script });
    expect(invokeScript.result).toMatchObject({ pruneInactiveWorktrees: { pruned: [] } });
    await ends.close();
  });
});
