import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { rows, value } from '../../support/sql.ts';
import { enqueue, executionsOf, makeDue } from '../sql/running.ts';
import { ask, createTrigger, disable, owner, type Person, person, project, withScopes } from '../sql/setting.ts';
import {
  attemptsOf,
  change,
  newWorktrees,
  scriptOnChange,
  startDispatching,
  untilBuried,
  untilEnded,
} from './setting.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startDispatching();
});
afterAll(() => gateway.close());

const logging = {
  document: `mutation ($worktree: ID!, $position: String!) {
    logActivities(input: { activities: [{
      agentId: "script", type: OTHER, description: $position, worktree: { id: $worktree }
    }] }) { activities { id } }
  }`,
};
const updating = {
  document: 'mutation ($id: ID!) { updateProject(input: { project: { id: $id }, name: "new" }) { project { id } } }',
  variables: { id: '=projectId' },
};

/** What is due is looked for. */
const signal = () => owner.query('notify treeline_outbox');

describe('a script runs as its registrant', () => {
  test('what it writes has that principal in the row and in the log, one deeper than its event', async () => {
    const who = await person();
    const projectId = await project(who);
    const worktree = await value<string>(owner, `select registry.register_worktree($1, 'feat', 'w', 'feat/w', '/w')`, [
      projectId,
    ]);
    const { projectId: watched, triggerId } = await scriptOnChange(who, {
      ...logging,
      variables: { worktree, position: '=position' },
    });
    const position = await change(watched);
    const [attempt] = await untilEnded(triggerId);
    expect(attempt).toMatchObject({ status: 'succeeded', attempt: 1, error: null });
    const logged = await rows(
      owner,
      'select principal_id, description from registry.agent_activities where worktree_id = $1',
      [worktree],
    );
    expect(logged).toEqual([{ principal_id: who.id, description: position }]);
    const told = await rows(
      owner,
      `select principal_id, depth from feed.events where topic = 'activities' and project_id = $1`,
      [projectId],
    );
    expect(told).toEqual([{ principal_id: who.id, depth: 1 }]);
  });

  test('what it answers is kept, without what was asked for besides', async () => {
    const { projectId, triggerId } = await scriptOnChange(await person(), updating);
    await change(projectId);
    const [attempt] = await untilEnded(triggerId);
    expect(attempt?.result).toEqual({
      updateProject: { project: { id: Buffer.from(`Project:${projectId}`).toString('base64url') } },
    });
  });

  const unscoped = async () => withScopes(await person(), 'registry:read', 'triggers:admin');
  const elsewhere = async () => project(await person());
  test.each<[string, RegExp, () => Promise<{ who?: Person; script: Record<string, unknown> }>]>([
    [
      'what its token may not',
      /^updateProject: FORBIDDEN: This needs the scope registry:write/,
      async () => ({ who: await unscoped(), script: updating }),
    ],
    [
      'in a chat that it is not in',
      /^appendMessages: NOT_FOUND: /,
      async () => ({
        script: {
          document: `mutation ($id: ID!) {
            appendMessages(input: { project: { id: $id }, messages: [{ messageId: "m", role: USER, content: "hello" }] }) { cursor }
          }`,
          variables: { id: await elsewhere() },
        },
      }),
    ],
    [
      "with somebody else's project",
      /^setProjectMember: FORBIDDEN: Only an owner/,
      async () => ({
        script: {
          document: `mutation ($project: ID!, $principal: ID!) {
            setProjectMember(input: { project: { id: $project }, principal: $principal, role: OWNER }) { project { id } }
          }`,
          variables: { project: await elsewhere(), principal: (await person()).id },
        },
      }),
    ],
    [
      'with what there is not, in one of several mutations',
      /^second: NOT_FOUND: .*00000000/,
      async () => ({
        script: {
          document: `mutation ($id: ID!, $none: ID!) {
            first: updateProject(input: { project: { id: $id }, name: "new" }) { cursor }
            ... on Mutation { second: updateProject(input: { project: { id: $none }, name: "new" }) { cursor } }
          }`,
          variables: { id: '=projectId', none: '00000000-0000-0000-0000-000000000000' },
        },
      }),
    ],
    [
      'with variables of the wrong type',
      /^BAD_USER_INPUT: Variable "\$id" .*ID/,
      async () => ({ script: { ...updating, variables: { id: '=[projectId, depth]' } } }),
    ],
    [
      'with variables that are no object',
      /^BAD_USER_INPUT: Expected variables that are an object by name/,
      async () => ({ script: { ...updating, variables: '=projectId' } }),
    ],
    [
      'with variables that cannot be made',
      /^The variables could not be made of the event: The expression at id failed: /,
      async () => ({ script: { ...updating, variables: { id: '=$uppercase(depth)' } } }),
    ],
    [
      'that costs too much',
      /costs [\d,]+ and the limit is/,
      async () => ({
        script: {
          document: `{ projects(first: 100) { nodes { worktrees(first: 100) { nodes {
            activities(first: 100) { nodes { worktree { project { worktrees(first: 100) { nodes { id } } } } } } } } } } }`,
        },
      }),
    ],
  ])(
    'what it does %s fails for good at the first attempt, with a dead letter that says so',
    async (_what, reason, set) => {
      const { who = await person(), script } = await set();
      const { projectId, triggerId } = await scriptOnChange(who, script);
      await change(projectId);
      const [letter] = await untilBuried(triggerId);
      expect(letter?.last_error).toMatch(reason);
      expect(letter).toMatchObject({
        attempts: 1,
        first_error: letter?.last_error,
        source_kind: 'kv',
        resolved: false,
      });
      expect(await attemptsOf(triggerId)).toMatchObject([{ status: 'failed', error: letter?.last_error }]);
      expect(await value(owner, 'select count(*)::int from triggers.outbox where trigger_id = $1', [triggerId])).toBe(
        0,
      );
    },
  );

  test('a document that the schema does not know any more fails for good', async () => {
    const { projectId, scriptId, triggerId } = await scriptOnChange(await person(), updating);
    await owner.query(`update triggers.scripts set document = '{ bygone }' where id = $1`, [scriptId]);
    await change(projectId);
    const [letter] = await untilBuried(triggerId);
    expect(letter).toMatchObject({ attempts: 1, last_error: expect.stringContaining('"bygone"') });
  });

  test('what may yet succeed is tried as often as the trigger says', async () => {
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(
      who,
      {
        document: 'mutation ($id: ID!) { updateProject(input: { project: { id: $id }, slug: "taken" }) { cursor } }',
        variables: { id: '=projectId' },
      },
      { retry_max_attempts: 3, retry_base_ms: 1, retry_backoff: 'constant' },
    );
    await owner.query(`insert into registry.projects (slug, name) values ('taken', 'taken')`);
    await change(projectId);
    const [letter] = await untilBuried(triggerId);
    expect(letter).toMatchObject({ attempts: 3, last_error: expect.stringMatching(/^updateProject: CONFLICT: /) });
    expect((await attemptsOf(triggerId)).map(({ attempt, status }) => [attempt, status])).toEqual([
      [1, 'failed'],
      [2, 'failed'],
      [3, 'failed'],
    ]);
  });
});

describe('rights that are taken away later', () => {
  test('scopes of the principal: what its triggers do is refused', async () => {
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(who, updating);
    await owner.query(`update auth.principals set scopes = '{registry:read,triggers:admin}' where id = $1`, [who.id]);
    await change(projectId);
    expect((await untilBuried(triggerId))[0]?.last_error).toMatch(/^updateProject: FORBIDDEN: /);
  });

  test('the principal: its triggers stop, and what waited becomes a dead letter', async () => {
    const [who, other] = [await person(), await person()];
    const { projectId, scriptId, triggerId } = await scriptOnChange(who, updating);
    await owner.query('select registry.set_project_member($1, $2, $3)', [projectId, other.id, 'owner']);
    const neighbour = await createTrigger(other, projectId, newWorktrees);
    const waiting = await enqueue(who, scriptId, { trigger_id: triggerId, overdue_ms: -3_600_000 });
    await disable(who);
    await makeDue();
    await signal();
    const letters = await untilBuried(triggerId);
    expect(letters.map(({ last_error }) => last_error)).toEqual([
      expect.stringMatching(/^The principal \S+, .* is disabled/),
    ]);
    expect(await executionsOf(waiting)).toMatchObject([{ status: 'failed', attempt: 1 }]);

    await change(projectId);
    await untilEnded(neighbour);
    expect(await attemptsOf(triggerId)).toHaveLength(1);
    expect(await untilBuried(triggerId)).toHaveLength(1);
  });

  test('a script that was deleted: what waits for it becomes a dead letter', async () => {
    const who = await person();
    const { scriptId, triggerId } = await scriptOnChange(who, updating);
    await ask(who, 'triggers.delete_trigger($1)', [triggerId]);
    const waiting = await enqueue(who, scriptId, {
      source_kind: 'http',
      trigger_id: triggerId,
      overdue_ms: -3_600_000,
    });
    await ask(who, 'triggers.delete_script($1)', [scriptId]);
    await makeDue();
    await signal();
    expect(await untilBuried(triggerId)).toMatchObject([{ last_error: 'The script was deleted.', attempts: 1 }]);
    expect(await executionsOf(waiting)).toMatchObject([{ status: 'failed' }]);
  });
});

describe('text that cannot be stored', () => {
  test.each([
    ['in what an expression throws', { id: "=$error('a\\u0000b')" }, /^The variables could not be made/],
    ['in a variable that an error quotes', { id: "=['\\u0000', '\\ud800']" }, /^BAD_USER_INPUT: /],
    ['in what is looked for', { id: "='\\ud800'" }, /^updateProject: /],
  ])('%s spoils neither the telling of how it ended nor that of others', async (_where, variables, reason) => {
    const who = await person();
    const { projectId, triggerId } = await scriptOnChange(who, { ...updating, variables });
    const sound = await createTrigger(who, projectId, newWorktrees);
    await change(projectId);
    expect((await untilBuried(triggerId))[0]?.last_error).toMatch(reason);
    expect(await untilEnded(sound)).toMatchObject([{ status: 'succeeded', attempt: 1 }]);
  });

  test('in what a query answers of it is kept as well as it can be', async () => {
    const { projectId, triggerId } = await scriptOnChange(await person(), {
      document: 'query ($query: String!) { searchProjects(query: $query) { relevance } }',
      variables: { query: "='\\ud800'" },
    });
    await change(projectId);
    expect(await untilEnded(triggerId)).toMatchObject([{ status: 'succeeded', attempt: 1 }]);
  });
});
