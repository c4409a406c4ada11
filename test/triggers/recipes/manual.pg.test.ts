import { beforeAll, describe, expect, test } from 'vitest';
import { rows } from '../../support/sql.ts';
import { watch } from '../../support/watch.ts';
import { signed } from '../route/calling.ts';
import { type Manual, openManual } from './document.ts';
import { type Finished, gateway, project, saved, sql, worktree } from './setting.ts';

describe('the examples of triggers.md', () => {
  let manual: Manual;
  beforeAll(async () => {
    manual = await openManual('triggers');
  });

  test('the first trigger logs a merge, once', async () => {
    const script = await saved(manual);
    await manual.run(gateway, 'CreateTrigger', { script });
    const ends = await watch<Finished>(gateway, manual.block('graphql', ' Executions('));
    const id = await worktree(await project('Logged', null), 'feat/logged');
    await sql('select registry.update_worktree_git_state($1, p_uncommitted_count => 1)', [id]);
    await sql('select registry.mark_worktree_merged($1)', [id]);
    expect((await ends.next()).execution).toMatchObject({ status: 'SUCCEEDED', script: { name: 'log-merges' } });
    const logged = await rows(
      gateway.database.owner,
      'select agent_id, activity_type, description from registry.agent_activities where worktree_id = $1',
      [id],
    );
    expect(logged).toEqual([{ agent_id: 'triggers', activity_type: 'merged', description: 'Merged: feat-logged' }]);
    const { triggers } = await manual.run<{ triggers: { nodes: object[] } }>(gateway, 'Triggers');
    expect(triggers.nodes[0]).toMatchObject({ script: { name: 'log-merges' }, stats: { succeeded: 1, failed: 0 } });
    await ends.close();
  });

  test('a route is called, and what fails is invoked, read and replayed', async () => {
    const { saveScript } = await gateway.ask<{ saveScript: { script: { id: string } } }>(
      `mutation { saveScript(input: { name: "broken", operation: {
         document: "mutation ($i: ID!) { deactivateProject(input: { project: { id: $i } }) { project { name } } }"
         variables: { i: "=body.id" } } }) { script { id } } }`,
    );
    const script = saveScript.script.id;
    const opened = await watch<{ deadLetter: { id: string; sourceKind: string } }>(
      gateway,
      manual.block('graphql', ' DeadLetters {\n  deadLetterOpened'),
    );
    const { saveRoute } = await manual.run<{ saveRoute: { route: { path: string }; secret: string } }>(
      gateway,
      'SaveRoute',
      { script },
    );
    const body = JSON.stringify({ id: 'none' });
    const headers = { 'content-type': 'application/json', ...signed(saveRoute, body) };
    const call = () => fetch(gateway.url + saveRoute.route.path, { method: 'POST', headers, body });
    expect(await (await call()).json()).toEqual({ id: expect.any(String) });
    expect(await (await call()).json()).toEqual({ duplicate: true });
    const { deadLetter } = await opened.next();
    expect(deadLetter.sourceKind).toBe('HTTP');
    const { deadLetters } = await manual.run<{ deadLetters: { nodes: object[] } }>(
      gateway,
      'DeadLetters {\n  deadLetters(',
    );
    expect(deadLetters.nodes).toMatchObject([{ id: deadLetter.id, attempts: 1, payload: { body: { id: 'none' } } }]);
    const { replayDeadLetters } = await manual.run<{ replayDeadLetters: { replayedCount: number } }>(
      gateway,
      'Replay',
      {
        ids: [deadLetter.id],
      },
    );
    expect(replayDeadLetters.replayedCount).toBe(1);
    expect((await opened.next()).deadLetter.sourceKind).toBe('REPLAY');
    const answer = await gateway.request<{ invokeScript: object }>(manual.block('graphql', ' Invoke('), { script });
    expect(answer.data.invokeScript).toMatchObject({ result: null, execution: { status: 'FAILED' } });
    await opened.close();
  });
});

test('the SQL of sql.md registers a trigger, and that of operating.md stops what a copy would do', async () => {
  const client = await gateway.database.connect();
  const registered = () =>
    rows(
      client,
      `select enabled from triggers.triggers t join triggers.scripts s on s.id = t.script_id where s.name = 'now'`,
    );
  await client.query((await openManual('sql')).block('sql', 'triggers.save_script'));
  expect(await registered()).toEqual([{ enabled: true }]);
  await client.query((await openManual('operating')).block('sql', 'triggers.outbox'));
  expect(await registered()).toEqual([{ enabled: false }]);
  await client.end();
});
