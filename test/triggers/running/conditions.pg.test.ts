import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGateway } from '../../support/gateway.ts';
import { rows } from '../../support/sql.ts';
import { lettersOf } from '../sql/matching.ts';
import { createTrigger, owner, type Person, person, project, saveScript } from '../sql/setting.ts';
import {
  attemptsOf,
  change,
  changes,
  deliveringTo,
  newWorktrees,
  receiving,
  scriptOnChange,
  startDispatching,
  untilBuried,
  untilEnded,
  untilFound,
} from './setting.ts';

let gateway: TestGateway;
let who: Person;
beforeAll(async () => {
  who = await person();
  gateway = await startDispatching();
});
afterAll(() => gateway.close());

const endless = '($f := function($n) { $f($n + 1) }; $f(0))';

describe('a condition', () => {
  test('that is true lets the event pass, and nothing else does', async () => {
    const projectId = await project(who);
    const on = (condition: string) => createTrigger(who, projectId, newWorktrees, { condition });
    const passing = [await on(`projectId = "${projectId}" and data.after.active`), await on('$not(depth > 0)')];
    const others = await Promise.all(['depth > 0', '"true"', '1', 'data.nothing', '[true, true]'].map(on));
    await change(projectId);
    for (const id of passing) expect(await untilEnded(id)).toMatchObject([{ status: 'succeeded' }]);
    await untilFound(async () => {
      const untested = await rows(owner, 'select from triggers.candidates where trigger_id = any($1)', [others]);
      return untested.length === 0;
    });
    for (const id of others) expect([await attemptsOf(id), await lettersOf(id)]).toEqual([[], []]);
  });

  test.each([
    ['fails', '$uppercase(depth)', /^The condition could not be tested: The condition failed: /],
    ['fails with a text that cannot be stored', "$error('\\u0000\\ud800')", /^The condition could not be tested: /],
    ['never ends', endless, /^The condition could not be tested: .* expected an end within 250 ms/],
    [
      'needs too much memory',
      '$join([1..1000000].("0123456789" & $string($)))',
      /^The condition could not be tested: /,
    ],
  ])(
    'that %s leaves a dead letter that says so, and keeps no other trigger from what it does',
    async (_what, condition, reason) => {
      const [projectId, elsewhere] = [await project(who), await project(who)];
      const bad = await createTrigger(who, projectId, newWorktrees, { condition });
      const sound = await createTrigger(who, projectId, newWorktrees, { condition: 'depth = 0' });
      const neighbour = await createTrigger(who, elsewhere, newWorktrees);
      await change(projectId);
      await change(elsewhere);
      expect(await untilBuried(bad)).toMatchObject([
        { attempts: 0, source_kind: 'kv', last_error: expect.stringMatching(reason) },
      ]);
      await Promise.all([untilEnded(sound), untilEnded(neighbour)]);
      expect(await attemptsOf(bad)).toEqual([]);
    },
  );

  test('that never ends keeps nobody from anything, however many there are and however much happens', async () => {
    const [projectId, elsewhere] = [await project(who), await project(who)];
    const bad: string[] = [];
    for (let n = 0; n < 3; n += 1) bad.push(await createTrigger(who, projectId, newWorktrees, { condition: endless }));
    const neighbour = await createTrigger(who, elsewhere, newWorktrees);
    await changes(projectId, 30);
    await change(elsewhere);
    await untilEnded(neighbour);
    for (const id of bad) {
      const [letter] = await untilBuried(id);
      expect(letter?.last_error).toMatch(/^The condition could not be tested: /);
      expect(await attemptsOf(id)).toEqual([]);
    }
    // Or it would go on with the rest.
    await owner.query('update triggers.triggers set enabled = false where id = any($1)', [bad]);
  });

  test("that is sound is tested in time, also while somebody else's templates never end", async () => {
    const { projectId, scriptId } = await scriptOnChange(await person(), { variables: { never: `=${endless}` } });
    const elsewhere = await project(who);
    const sound = await createTrigger(who, elsewhere, newWorktrees, { condition: 'depth = 0' });
    await changes(projectId, 4);
    // Nobody tells that something was begun.
    while ((await attemptsOf(scriptId)).length < 2);
    await changes(elsewhere, 60);
    expect((await untilEnded(sound, 60)).every(({ status }) => status === 'succeeded')).toBe(true);
    expect(await lettersOf(sound)).toEqual([]);
  });
});

describe('a trigger for dead letters', () => {
  /** A trigger whose script fails at once, and one that handles what it leaves. */
  async function failing(handler: Record<string, unknown>, columns: Record<string, unknown> = {}) {
    const projectId = await project(who);
    const script_id = await saveScript(who, projectId, { document: '{ cursor }', variables: '="none"' });
    const triggerId = await createTrigger(who, projectId, newWorktrees, { script_id });
    const handlerId = await createTrigger(
      who,
      projectId,
      { kind: 'dead_letter', source_filter: 'kv' },
      { ...columns, script_id: await saveScript(who, projectId, handler) },
    );
    return { projectId, triggerId, handlerId };
  }

  const untilResolved = (triggerId: string) =>
    untilFound(async () => (await lettersOf(triggerId)).find(({ resolution }) => resolution !== null));

  test('is told all of it, and settles it', async () => {
    const receiver = await receiving();
    const { projectId, triggerId, handlerId } = await failing(deliveringTo(receiver), {
      condition: 'deadLetter.attempts = 1',
    });
    const position = await change(projectId);
    expect(await untilResolved(triggerId)).toMatchObject({ resolution: 'handled_by_script', resolved: true });
    const [letter] = await lettersOf(triggerId);
    expect(receiver.deliveries.map(({ payload }) => payload)).toMatchObject([
      {
        type: 'dead_letter',
        deadLetter: { id: letter?.id, source: 'KV', triggerId, lastError: letter?.last_error, payload: { position } },
      },
    ]);
    expect(await untilEnded(handlerId)).toHaveLength(1);
  });

  test.each([
    ['fails for good', { document: '{ cursor }', variables: '="none"' }, {}],
    ['has a condition that fails', {}, { condition: '$uppercase(1)' }],
  ])('that %s says so in the letter, which stays, and leaves none of its own', async (_how, handler, columns) => {
    const { projectId, triggerId, handlerId } = await failing(handler, columns);
    // One that handles what handlers leave would be told, if there were anything.
    const spec = { kind: 'dead_letter', trigger_id_filter: handlerId };
    const other = await createTrigger(who, projectId, spec, { script_id: await saveScript(who, projectId) });
    await change(projectId);
    expect(await untilResolved(triggerId)).toMatchObject({ resolution: 'handler_failed', resolved: false });
    expect(await rows(owner, 'select from triggers.dead_letters where project_id = $1', [projectId])).toHaveLength(1);
    expect(await attemptsOf(other)).toEqual([]);
  });
});
