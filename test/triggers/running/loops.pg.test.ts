import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { makePerson } from '../../support/people.ts';
import { rows } from '../../support/sql.ts';
import { lettersOf } from '../sql/matching.ts';
import { ask, createTrigger, owner, type Person, person, project, saveRoute, saveScript } from '../sql/setting.ts';
import { attemptsOf, deliveringTo, startDispatching, untilBuried, untilEnded } from './setting.ts';

const mostDeep = 3;
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startDispatching({ environment: { TREELINE_TRIGGER_MAX_DEPTH: String(mostDeep) } });
});
afterAll(() => gateway.close());

const ofProjects = { kind: 'kv', collection_glob: 'projects' };
const tooDeep = (depth: number) => expect.stringMatching(`^${depth} scripts .*TREELINE_TRIGGER_MAX_DEPTH`);

/** Changes a project each time anew, because no two events have the same position. */
const stirring = {
  document: `mutation ($id: ID!, $description: String!) {
    updateProject(input: { project: { id: $id }, description: $description }) { cursor }
  }`,
  variables: { id: '=projectId', description: '=position' },
};
const stir = (projectId: string) =>
  owner.query('update registry.projects set description = gen_random_uuid() where id = $1', [projectId]);

/** How deep each change of a project was, the first one first. */
const depthsOf = async (projectId: string): Promise<number[]> => {
  const found = await rows<{ depth: number }>(
    owner,
    `select depth from feed.events where topic = 'projects' and op = 'update' and project_id = $1 order by position`,
    [projectId],
  );
  return found.map(({ depth }) => depth);
};

describe('scripts that set off one another', () => {
  test('a script that sets off its own trigger ends at the limit, in a dead letter that says so', async () => {
    const who = await person();
    const projectId = await project(who);
    const script_id = await saveScript(who, projectId, stirring);
    const triggerId = await createTrigger(who, projectId, ofProjects, { script_id });
    await stir(projectId);
    const letters = await untilBuried(triggerId);
    expect(letters).toMatchObject([{ source_kind: 'kv', depth: 3, attempts: 0, last_error: tooDeep(3) }]);
    expect(await depthsOf(projectId)).toEqual([0, 1, 2, 3]);
    expect((await attemptsOf(triggerId)).map(({ status }) => status)).toEqual(Array(3).fill('succeeded'));

    // Somebody wants it all the same: once more, and no further.
    await ask(who, 'triggers.resolve_dead_letters($1::uuid[], null, 1, $2)', [letters.map(({ id }) => id), 'replayed']);
    expect(await untilBuried(triggerId, 2)).toMatchObject([
      { resolution: 'replayed' },
      { depth: 4, resolution: null, last_error: tooDeep(4) },
    ]);
    expect(await depthsOf(projectId)).toEqual([0, 1, 2, 3, 4]);
  });

  test('two that set off one another end there too, also of different people and through another project', async () => {
    const [grace, ada] = [await person(), await person()];
    const [ours, theirs] = [await project(grace), await project(ada)];
    const triggers = await Promise.all([set(grace, ours, theirs), set(ada, theirs, ours)]);
    await stir(ours);
    const letters = await untilBuried(triggers[1]);
    expect(letters).toMatchObject([{ depth: 3, last_error: tooDeep(3) }]);
    expect([await depthsOf(ours), await depthsOf(theirs)]).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(await lettersOf(triggers[0])).toEqual([]);

    async function set(who: Person, from: string, to: string): Promise<string> {
      const variables = { ...stirring.variables, id: to };
      return createTrigger(who, from, ofProjects, {
        script_id: await saveScript(who, from, { ...stirring, variables }),
      });
    }
  });

  test('a webhook to a route of the same gateway ends there too, at the receiving end', async () => {
    const who = await person();
    const projectId = await project(who);
    const path = `/hooks/${randomUUID()}`;
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const script_id = await saveScript(who, projectId, deliveringTo({ url: `${gateway.url}${path}`, secret }));
    const columns = { path, script_id, signature: 'standard', secret, retry_max_attempts: 2, retry_base_ms: 1 };
    const routeId = await saveRoute(who, projectId, columns);
    const triggerId = await createTrigger(who, projectId, { ...ofProjects, ops: ['update'] }, { script_id });
    await stir(projectId);
    await untilEnded(triggerId);
    expect(await untilBuried(routeId)).toMatchObject([{ source_kind: 'http', depth: 3, last_error: tooDeep(3) }]);
    // Whoever sent what went too deep is told so, and when it sends it again, that it came before.
    const attempts = await untilEnded(routeId, 3);
    expect(attempts.map(({ status, result }) => [status, (result as { status: number }).status])).toEqual([
      ['succeeded', 202],
      ['failed', 400],
      ['succeeded', 202],
    ]);
    expect(await lettersOf(routeId)).toHaveLength(1);
  });

  test('a script that invokes itself is told so at the limit, and so is everybody up to who asked', async () => {
    const asker = await makePerson(gateway, 'ouroboros', ['REGISTRY_READ', 'TRIGGERS_ADMIN']);
    const who = { id: asker.uuid, scopes: ['registry:read', 'triggers:admin'] };
    const scriptId = await saveScript(who, await project(who), {
      document: `mutation ($script: ID!, $input: JSON!) {
        invokeScript(input: { script: $script, input: $input }) { result }
      }`,
      variables: { script: '=input.script', input: '=input' },
    });
    const { invokeScript } = await gateway.ask<{ invokeScript: { userErrors: { code: string; message: string }[] } }>(
      `mutation ($script: ID!) {
        invokeScript(input: { script: $script, input: { script: $script } }) { userErrors { code message } }
      }`,
      { script: scriptId },
      { token: asker.token },
    );
    expect(invokeScript.userErrors).toMatchObject([
      { code: 'CONFLICT', message: expect.stringMatching(/INVALID: 3 scripts have set off one another already/) },
    ]);
    expect((await attemptsOf(scriptId)).map(({ status }) => status)).toEqual(Array(mostDeep).fill('failed'));
    expect(await rows(owner, 'select id from triggers.dead_letters where script_id = $1', [scriptId])).toEqual([]);
  });
});
