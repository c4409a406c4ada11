import { beforeAll, describe, expect, test } from 'vitest';
import { makePerson, makeProject, type Person, setMember } from '../../support/people.ts';
import { value } from '../../support/sql.ts';
import { watch } from '../../support/watch.ts';
import {
  bury,
  createTrigger,
  done,
  idOf,
  manager,
  mutate,
  operation,
  run,
  saveScript,
  setOff,
  triggersGateway,
} from './asking.ts';

const setting = triggersGateway();
let script: string;
let trigger: string;
beforeAll(async () => {
  script = await saveScript(setting, { name: 'run' });
  trigger = await createTrigger(setting, { script });
});

const finished = `subscription ($trigger: ID, $script: ID, $after: Cursor) { executionFinished(trigger: $trigger, script: $script, after: $after) {
  cursor change execution { id status error trigger { id } script { name } } } }`;
const opened = `subscription ($after: Cursor) { deadLetterOpened(after: $after) { cursor change deadLetter { id lastError trigger { id } } } }`;

interface Finished {
  cursor: string;
  change: string;
  execution: { id: string; status: string };
}
interface Opened {
  cursor: string;
  change: string;
  deadLetter: { id: string };
}

const watchAs = <Update>(person: Person, document: string, variables: Record<string, unknown> = {}) =>
  watch<Update>(setting.gateway, document, variables, person.token);

describe('executionFinished', () => {
  test('tells each attempt as it ends, to those who may see it and nobody else', async () => {
    const coOwner = await makePerson(setting.gateway, 'co-owner', manager);
    await setMember(setting.gateway, setting.projectId, coOwner, 'owner');
    const watching = [await watchAs<Finished>(setting.grace, finished), await watchAs<Finished>(coOwner, finished)];
    const strangers = [
      await watchAs<Finished>(setting.mallory, finished),
      await watch<Finished>(setting.gateway, finished),
    ];
    const { owner } = setting.gateway.database;
    await setOff(setting, script, { trigger });
    const [key = ''] = await run(setting, { status: 'failed', error: 'It broke.', permanent: true });
    for (const one of watching) {
      expect(await one.next()).toMatchObject({
        change: 'UPDATED',
        execution: {
          id: idOf('Execution', key),
          status: 'FAILED',
          error: 'It broke.',
          trigger: { id: trigger },
          script: { name: 'run' },
        },
      });
    }
    // Of all of these it is the first that the strangers hear of.
    const admin = await value<string>(owner, `select id from auth.principals where handle = 'local'`);
    const saving = mutate<{ script: { id: string } }>(setting, 'saveScript', 'script { id }', {
      name: 'all',
      operation,
    });
    await setOff(setting, (await done(saving)).script.id, { projectId: null, principalId: admin });
    const [ofAll = ''] = await run(setting);
    expect(await strangers[1]?.next()).toMatchObject({
      execution: { id: idOf('Execution', ofAll), script: { name: 'all' } },
    });
    const projectId = await makeProject(setting.gateway, 'mallorys', setting.mallory);
    const theirs = await done(
      mutate<{ script: { id: string } }>(
        setting,
        'saveScript',
        'script { id }',
        { project: { id: projectId }, name: 'theirs', operation },
        setting.mallory,
      ),
    );
    await setOff(setting, theirs.script.id, { projectId, principalId: setting.mallory.uuid });
    const [ofTheirs = ''] = await run(setting);
    expect(await strangers[0]?.next()).toMatchObject({ execution: { id: idOf('Execution', ofTheirs) } });
    // And grace heard of none of them.
    await setOff(setting, script);
    const [second = ''] = await run(setting);
    expect(await watching[0]?.next()).toMatchObject({ execution: { id: idOf('Execution', second) } });
    await Promise.all([...watching, ...strangers].map((one) => one.close()));
  });

  test('of one trigger or script only, from a cursor on', async () => {
    const { cursor } = await setting.gateway.ask<{ cursor: string }>('{ cursor }');
    const other = await saveScript(setting);
    await setOff(setting, other);
    const [ofOther = ''] = await run(setting);
    await setOff(setting, script, { trigger });
    const [ofTrigger = ''] = await run(setting);
    const first = async (variables: Record<string, unknown>) => {
      const watching = await watchAs<Finished>(setting.grace, finished, { ...variables, after: cursor });
      const update = await watching.next();
      await watching.close();
      return update;
    };
    expect((await first({ trigger })).execution.id).toBe(idOf('Execution', ofTrigger));
    const update = await first({ script: other });
    expect(update.execution.id).toBe(idOf('Execution', ofOther));
    expect((await first({})).execution.id).toBe(idOf('Execution', ofOther));
    // Its own cursor goes on behind it.
    const resumed = await watchAs<Finished>(setting.grace, finished, { after: update.cursor });
    expect((await resumed.next()).execution.id).toBe(idOf('Execution', ofTrigger));
    await resumed.close();
  });

  test('of what is no id is refused', async () => {
    const watching = await watchAs<Finished>(setting.grace, finished, { trigger: 'nonsense' });
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
    await watching.close();
  });
});

describe('deadLetterOpened', () => {
  test('tells each as it comes, also from a cursor on, to those who may see it', async () => {
    const { cursor } = await setting.gateway.ask<{ cursor: string }>('{ cursor }');
    const stranger = await watchAs<Opened>(setting.mallory, opened);
    const watching = await watchAs<Opened>(setting.grace, opened);
    const [first, second] = [await bury(setting, script, { trigger }), await bury(setting, script)];
    const updates = [await watching.next(), await watching.next()];
    expect(updates).toMatchObject([
      { change: 'CREATED', deadLetter: { id: first, lastError: 'It broke.', trigger: { id: trigger } } },
      { change: 'CREATED', deadLetter: { id: second, trigger: null } },
    ]);
    const replayed = await watchAs<Opened>(setting.grace, opened, { after: cursor });
    expect((await replayed.next()).deadLetter.id).toBe(first);
    const resumed = await watchAs<Opened>(setting.grace, opened, { after: updates[0]?.cursor });
    expect((await resumed.next()).deadLetter.id).toBe(second);
    // The first that the stranger hears of is of what has become its own.
    await setting.gateway.database.owner.query('update registry.projects set owner_id = $1 where id = $2', [
      setting.mallory.uuid,
      setting.projectId,
    ]);
    const third = await bury(setting, script);
    expect((await stranger.next()).deadLetter.id).toBe(third);
    await setting.gateway.database.owner.query('update registry.projects set owner_id = $1 where id = $2', [
      setting.grace.uuid,
      setting.projectId,
    ]);
    await Promise.all([watching, replayed, resumed, stranger].map((one) => one.close()));
  });
});

test('neither is in the raw log, nor for tokens without the scope', async () => {
  const reader = await makePerson(setting.gateway, 'reader', ['REGISTRY_READ']);
  for (const document of [finished, opened]) {
    const watching = await watchAs(reader, document);
    expect(await watching.failure()).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
    await watching.close();
  }
  const raw = await watchAs(setting.grace, 'subscription { events(topics: ["executions"]) { topic } }');
  expect(await raw.failure()).toMatchObject({ extensions: { code: 'BAD_USER_INPUT' } });
  await raw.close();
});
