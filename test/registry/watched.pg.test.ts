import { type GraphQLObjectType, getNamedType } from 'graphql';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { rows, value } from '../support/sql.ts';
import { watch } from '../support/watch.ts';

/** What the subscriptions of the registry tell, and of what. */
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway({ environment: { TREELINE_DISPATCH: 'on' } });
});
afterAll(() => gateway.close());

const sql = (text: string, values: unknown[] = []) => gateway.database.owner.query(text, values);
let made = 0;
async function project(): Promise<{ id: string; slug: string }> {
  made += 1;
  const slug = `watched-${made}`;
  return { id: await value(gateway.database.owner, 'select registry.register_project($1, null)', [slug]), slug };
}
async function worktree(projectId: string, name: string): Promise<string> {
  made += 1;
  return value(gateway.database.owner, `select registry.register_worktree($1, 'feat', $2, 'feat/x', $3)`, [
    projectId,
    name,
    `/watched/${made}`,
  ]);
}
const id = (type: string, key: string) => Buffer.from(`${type}:${key}`).toString('base64url');

describe('worktreeChanged', () => {
  const document = `subscription ($worktree: WorktreeRef, $project: ProjectRef, $agentId: String) {
    worktreeChanged(worktree: $worktree, project: $project, agentId: $agentId) {
      cursor change changedFields worktreeId
      worktree { name status agentId gitState { aheadOfTrunk } project { slug } claim { agentId } }
    }
  }`;
  interface Update {
    change: string;
    changedFields: string[];
    worktreeId: string;
    worktree: { name: string; status: string; project: { slug: string }; claim: { agentId: string } | null } | null;
  }

  test('tells of changes through the API and in plain SQL, fresh each time and only of what was asked for', async () => {
    const [watched, other] = [await project(), await project()];
    const watching = await watch<Update>(gateway, document, { project: { slug: watched.slug } });
    await worktree(other.id, 'o');
    const key = await worktree(watched.id, 'w');
    expect(await watching.next()).toMatchObject({
      change: 'CREATED',
      changedFields: [],
      worktreeId: id('Worktree', key),
      worktree: { name: 'w', status: 'CLEAN', project: { slug: watched.slug } },
    });
    await gateway.ask(
      `mutation ($id: ID!) { updateWorktreeGitState(input: { worktree: { id: $id }, aheadOfTrunk: 4 }) { changed } }`,
      { id: key },
    );
    const update = await watching.next();
    expect(update).toMatchObject({ change: 'UPDATED', worktree: { status: 'AHEAD', gitState: { aheadOfTrunk: 4 } } });
    expect(update.changedFields.toSorted()).toEqual([
      'gitState.aheadOfTrunk',
      'gitState.lastSyncAt',
      'inFlight',
      'status',
    ]);
    // A rename of the project shows in the next event: nothing is remembered from the one before.
    await sql(`update registry.projects set slug = $2 where id = $1`, [watched.id, `${watched.slug}-renamed`]);
    await sql(`update registry.worktrees set behind_trunk = 1 where id = $1`, [key]);
    expect(await watching.next()).toMatchObject({
      worktree: { status: 'DIVERGED', project: { slug: `${watched.slug}-renamed` } },
    });
    await sql(`delete from registry.worktrees where id = $1`, [key]);
    expect(await watching.next()).toMatchObject({ change: 'DELETED', worktreeId: id('Worktree', key), worktree: null });
    await watching.close();
  });

  test('claims and files of a worktree are changes of it', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { worktree: { id: key } });
    await sql(`select registry.claim_worktree($1, 'ada')`, [key]);
    const updates = await watching.until((update) => update.changedFields.includes('claim'));
    expect(updates.at(-1)?.worktree?.claim).toEqual({ agentId: 'ada' });
    await sql(
      `select registry.update_worktree_git_state($1, p_changed_files => '[{"path": "a", "change": "M"}, {"path": "b", "change": "A"}]')`,
      [key],
    );
    expect((await watching.until((update) => update.changedFields.includes('changedFiles'))).length).toBeGreaterThan(0);
    await watching.close();
  });

  test('by agent: where it works, and where it did until the change', async () => {
    const { id: projectId } = await project();
    const [mine, other] = [await worktree(projectId, 'mine'), await worktree(projectId, 'other')];
    const watching = await watch<Update>(gateway, document, { agentId: 'grace' });
    await sql(`update registry.worktrees set agent_id = 'ada' where id = $1`, [other]);
    await sql(`update registry.worktrees set agent_id = 'grace' where id = $1`, [mine]);
    expect(await watching.next()).toMatchObject({ worktree: { name: 'mine' } });
    await sql(`update registry.worktrees set agent_id = 'ada' where id = $1`, [mine]);
    expect(await watching.next()).toMatchObject({ worktree: { name: 'mine', agentId: 'ada' } });
    await watching.close();
  });

  test('one that moves to another project is told to those who watch either', async () => {
    const [from, to] = [await project(), await project()];
    const key = await worktree(from.id, 'mover');
    const watching = await Promise.all(
      [from, to].map(({ id: projectId }) => watch<Update>(gateway, document, { project: { id: projectId } })),
    );
    await sql('update registry.worktrees set project_id = $2 where id = $1', [key, to.id]);
    for (const one of watching) {
      expect(await one.next()).toMatchObject({ changedFields: ['project'], worktree: { project: { slug: to.slug } } });
      await one.close();
    }
  });

  test('what cannot be watched is said', async () => {
    const watching = await watch(gateway, document, { project: { slug: 'nobody-has-this' } });
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
    await watching.close();
  });
});

describe('projectChanged', () => {
  const document = `subscription ($project: ProjectRef) {
    projectChanged(project: $project) { change changedFields projectId project { name parents { slug } } }
  }`;
  interface Update {
    change: string;
    changedFields: string[];
    project: { name: string; parents: { slug: string }[] } | null;
  }

  test('tells of the project, its parents, links, members and checkouts, and of its end', async () => {
    const [parent, child] = [await project(), await project()];
    const watching = await watch<Update>(gateway, document, { project: { id: child.id } });
    await sql(`update registry.projects set name = 'Named' where id = $1`, [child.id]);
    expect(await watching.next()).toMatchObject({
      change: 'UPDATED',
      changedFields: ['name'],
      project: { name: 'Named' },
    });
    await sql('select registry.classify_project($1, $2)', [child.id, [parent.id]]);
    const [classified] = (await watching.until((update) => update.changedFields.includes('parents'))).slice(-1);
    expect(classified?.project?.parents).toEqual([{ slug: parent.slug }]);
    await sql(`select registry.link_project($1, 'issue', '1', 'about')`, [child.id]);
    expect(await watching.next()).toMatchObject({ changedFields: ['links'] });
    await sql(`insert into registry.project_checkouts select $1, id, '/x' from registry.hosts where name = 'local'`, [
      child.id,
    ]);
    expect(await watching.next()).toMatchObject({ changedFields: ['workingPath'] });
    await sql(
      `insert into auth.project_members (project_id, principal_id, role) select $1, id, 'viewer' from auth.principals limit 1`,
      [child.id],
    );
    expect(await watching.next()).toMatchObject({ changedFields: ['members'] });
    await sql('delete from registry.projects where id = $1', [child.id]);
    expect(await watching.next()).toMatchObject({ change: 'DELETED', project: null });
    await watching.close();
  });
});

describe('activityLogged', () => {
  test('tells each activity that fits the filter, exactly once and in order', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const document = `subscription ($filter: ActivityFilter) {
      activityLogged(filter: $filter) { change activity { description worktree { name } } }
    }`;
    const watching = await watch<{ activity: { description: string } }>(gateway, document, {
      filter: { agentId: 'ada', type: ['COMMITTED'], project: { id: projectId }, metadata: { loud: true } },
    });
    const activity = (agentId: string, type: string, description: string, loud = true) => ({
      agentId,
      type,
      description,
      worktree: { id: key },
      metadata: { loud },
    });
    await gateway.ask(
      `mutation ($all: [ActivityInput!]!) { logActivities(input: { activities: $all }) { userErrors { code } } }`,
      {
        all: [
          activity('ada', 'COMMITTED', 'one'),
          activity('grace', 'COMMITTED', 'not hers'),
          activity('ada', 'OTHER', 'not that'),
          activity('ada', 'COMMITTED', 'quiet', false),
          activity('ada', 'COMMITTED', 'two'),
          activity('ada', 'COMMITTED', 'two'),
        ],
      },
    );
    const told = [await watching.next(), await watching.next(), await watching.next()];
    expect(told.map((update) => update.activity.description).toSorted()).toEqual(['one', 'two', 'two']);
    await watching.close();
  });
});

describe('claimChanged', () => {
  const document = `subscription ($project: ProjectRef, $agentId: String) {
    claimChanged(project: $project, agentId: $agentId) {
      cursor change reason agentId previousAgentId hadUncommittedChanges claim { agentId fence } worktree { name }
    }
  }`;
  interface Update {
    cursor: string;
    change: string;
    reason: string;
    agentId: string;
    previousAgentId: string | null;
    claim: { agentId: string } | null;
  }
  const brief = ({ change, reason, agentId, previousAgentId, claim }: Update) => [
    change,
    reason,
    agentId,
    previousAgentId,
    claim?.agentId ?? null,
  ];

  test('claims, takeovers and releases are told, each with its reason', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { project: { id: projectId } });
    await sql(`select registry.claim_worktree($1, 'ada')`, [key]);
    expect(brief(await watching.next())).toEqual(['CREATED', 'ACQUIRED', 'ada', null, 'ada']);
    await sql(`select registry.claim_worktree($1, 'grace', p_takeover => true)`, [key]);
    expect(brief(await watching.next())).toEqual(['UPDATED', 'TAKEN_OVER', 'grace', 'ada', 'grace']);
    await sql(`select registry.release_worktree($1, 2)`, [key]);
    expect(brief(await watching.next())).toEqual(['DELETED', 'RELEASED', 'grace', 'grace', null]);
    await watching.close();
  });

  test('a lapse is told when it happens, once, though two gateways wait for it', async () => {
    const second = await startGateway({ database: gateway.database });
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { project: { id: projectId } });
    await sql(`select registry.claim_worktree($1, 'ada', p_ttl => '1 second')`, [key]);
    expect(brief(await watching.next())).toEqual(['CREATED', 'ACQUIRED', 'ada', null, 'ada']);
    expect(brief(await watching.next())).toEqual(['DELETED', 'LAPSED', 'ada', 'ada', null]);
    const [lapse] = await rows<{ late: number; count: number }>(
      gateway.database.owner,
      `select count(*)::int as count, max(extract(epoch from e.at - (e.data -> 'before' ->> 'expires_at')::timestamptz))::float8 as late
       from feed.events e where topic = 'claims' and entity_id = $1 and data ->> 'reason' = 'lapsed'`,
      [key],
    );
    expect(lapse?.count).toBe(1);
    expect(lapse?.late).toBeGreaterThanOrEqual(0);
    // Renewing what lapsed is refused; what was reported with its fence passes until somebody else claims.
    await expect(sql(`select registry.renew_claim($1, 1)`, [key])).rejects.toMatchObject({
      detail: expect.stringMatching(/^FENCED/),
    });
    await watching.close();
    await second.close();
  });

  test('a renewal puts the lapse off', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { project: { id: projectId } });
    await sql(`select registry.claim_worktree($1, 'ada', p_ttl => '1 second')`, [key]);
    await sql(`select registry.renew_claim($1, 1, '2 seconds')`, [key]);
    const [, lapse] = [await watching.next(), await watching.next()];
    expect(lapse.reason).toBe('LAPSED');
    const [renewed] = await rows<{ held: number }>(
      gateway.database.owner,
      `select extract(epoch from e.at - c.acquired_at)::float8 as held
       from feed.events e join registry.worktree_claims c on c.worktree_id::text = e.entity_id
       where e.topic = 'claims' and e.entity_id = $1 and e.data ->> 'reason' = 'lapsed'`,
      [key],
    );
    expect(renewed?.held).toBeGreaterThanOrEqual(2);
    await watching.close();
  });

  test('a renewal for a shorter time brings the lapse nearer', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { project: { id: projectId } });
    await sql(`select registry.claim_worktree($1, 'ada', p_ttl => '1 hour')`, [key]);
    await sql(`select registry.renew_claim($1, 1, '1 second')`, [key]);
    expect((await watching.until((update) => update.reason === 'LAPSED')).length).toBe(3);
    await watching.close();
  });

  test('what lapsed and was not noticed is told before the claim that follows', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'w');
    const watching = await watch<Update>(gateway, document, { project: { id: projectId } });
    // In one transaction, so that nobody can notice in between.
    await sql(`do $$ begin
      perform registry.claim_worktree('${key}', 'ada', p_ttl => '1 second');
      perform pg_sleep(1.05);
      perform registry.claim_worktree('${key}', 'grace');
    end $$`);
    const told = [await watching.next(), await watching.next(), await watching.next()];
    expect(told.map((update) => update.reason)).toEqual(['ACQUIRED', 'LAPSED', 'ACQUIRED']);
    await watching.close();
  });
});

describe('every subscription', () => {
  test('goes on from a cursor: what came after it is told first', async () => {
    const { id: projectId } = await project();
    const key = await worktree(projectId, 'resumed');
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    await sql(`update registry.projects set name = 'Resumed', managed_by = '{mai}' where id = $1`, [projectId]);
    await sql('update registry.worktrees set ahead_of_trunk = 1 where id = $1', [key]);
    await sql(`select registry.claim_worktree($1, 'ada')`, [key]);
    await sql(`select registry.log_activity('ada', $1, 'other', 'resumed')`, [key]);
    const me = await value<string>(gateway.database.owner, `select id from auth.principals where handle = 'local'`);
    await sql('update registry.projects set owner_id = $2 where id = $1', [projectId, me]);
    await sql(
      `select chat.append_project_messages($1, '[{"message_id": "1", "role": "user", "content": "resumed"}]')
       from (select set_config('app.current_user_id', $2, false) offset 0) as asking`,
      [projectId, me],
    );
    const synced = await gateway.ask<{ pushChanges: { cursor: string } }>(
      `mutation { pushChanges(input: { appId: "a", clientId: "c", changes: [
        { changeId: "1", table: "t", recordId: "r", op: INSERT, data: { name: "resumed" } }
      ] }) { cursor } }`,
    );
    const { saveScript } = await gateway.ask<{ saveScript: { script: { uuid: string } } }>(
      `mutation { saveScript(input: { name: "resumed", operation: { document: "{ cursor }" } }) { script { uuid } } }`,
    );
    const script = saveScript.script.uuid;
    await gateway.ask(`mutation { invokeScript(input: { script: "${script}" }) { result } }`);
    await sql(
      `select triggers.bury(array[row(gen_random_uuid(), null, 'cron', null, $1, $2, '{}', '{}', 1, null, 'resumed', 3, 'constant', 1000, 0)::triggers.burial])`,
      [script, me],
    );
    const fields = Object.keys(schema.getSubscriptionType()?.getFields() ?? {});
    const selections: Record<string, string> = {
      inFlightWork: 'presence worktree { name }',
      worktreeChanged: 'change worktree { name }',
      projectChanged: 'change project { name }',
      claimChanged: 'reason worktree { name }',
      activityLogged: 'activity { description }',
      events: 'topic data',
      messageAppended: 'message { content }',
      syncChanged: 'changes { data }',
      mirrorChanged: 'project { name }',
      executionFinished: 'execution { script { name } }',
      deadLetterOpened: 'deadLetter { lastError }',
    };
    const ofOwn: Record<string, { args: string; cursor: string }> = {
      messageAppended: { args: `project: { id: "${projectId}" }, `, cursor },
      // A log of its own, with its own cursors.
      syncChanged: { args: 'appId: "a", ', cursor: synced.pushChanges.cursor },
    };
    expect(fields.toSorted()).toEqual(Object.keys(selections).toSorted());
    for (const field of fields) {
      const own = ofOwn[field] ?? { args: '', cursor };
      const document = `subscription ($after: Cursor) { ${field}(${own.args}after: $after) { cursor ${selections[field]} } }`;
      const watching = await watch<{ cursor: string }>(gateway, document, { after: own.cursor });
      const first = await watching.next();
      expect(JSON.stringify(first)).toMatch(/resumed/i);
      await watching.close();
    }
  });

  test('shows its cursor, and so does every payload of a mutation', () => {
    const mutations = Object.values(schema.getMutationType()?.getFields() ?? {});
    const updates = Object.values(schema.getSubscriptionType()?.getFields() ?? {});
    for (const { name, type } of [...mutations, ...updates]) {
      expect([name, Object.keys((getNamedType(type) as GraphQLObjectType).getFields())]).toEqual([
        name,
        expect.arrayContaining(['cursor']),
      ]);
    }
  });
});
