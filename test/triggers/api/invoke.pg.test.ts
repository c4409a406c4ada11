import { describe, expect, test } from 'vitest';
import type { Person } from '../../support/people.ts';
import { watch } from '../../support/watch.ts';
import { done, mutate, refused, saveScript, triggersGateway } from './asking.ts';

/** With a dispatcher: what is asked for is run. */
const setting = triggersGateway({});

interface Invoked {
  result: unknown;
  execution: { id: string; status: string; error: string | null } | null;
}

const invoke = (input: Record<string, unknown>, person: Person = setting.grace) =>
  mutate<Invoked>(
    setting,
    'invokeScript',
    'result execution { id status error result sourceKind trigger { id } script { name } principal { handle } }',
    input,
    person,
  );

const project = (variables: unknown) => ({
  operation: { document: 'query ($slug: String!) { project(by: { slug: $slug }) { name } }', variables },
});

describe('invokeScript', () => {
  test('answers what came of it, and the attempt', async () => {
    const script = await saveScript(setting, { name: 'find', ...project({ slug: '=input.wanted' }) });
    const outcome = await done(invoke({ script, input: { wanted: 'hopper' } }));
    expect(outcome).toMatchObject({
      result: { project: { name: 'hopper' } },
      execution: {
        status: 'SUCCEEDED',
        error: null,
        result: { project: { name: 'hopper' } },
        sourceKind: 'INVOKE',
        trigger: null,
        script: { name: 'find' },
        principal: { handle: 'grace' },
      },
    });
  });

  test('of a script that fails answers the attempt, and says why', async () => {
    const script = await saveScript(setting, project({ slug: '=input.wanted' }));
    const outcome = await invoke({ script });
    expect(outcome).toMatchObject({
      result: null,
      execution: { status: 'FAILED', error: expect.stringContaining('slug') },
      userErrors: [{ code: 'CONFLICT', path: ['input', 'script'], message: expect.stringContaining('slug') }],
    });
  });

  test('its payload’s cursor goes on with the end of the attempt', async () => {
    const script = await saveScript(setting);
    const outcome = await invoke({ script });
    const watching = await watch<{ execution: { id: string } }>(
      setting.gateway,
      'subscription ($after: Cursor, $script: ID) { executionFinished(after: $after, script: $script) { execution { id } } }',
      { after: outcome.cursor, script },
      setting.grace.token,
    );
    expect((await watching.next()).execution.id).toBe(outcome.execution?.id);
    await watching.close();
  });

  test('refuses what it cannot do, at its place', async () => {
    const script = await saveScript(setting);
    const cases: [Record<string, unknown>, [string, string][]][] = [
      [{ script, timeoutMs: 0 }, [['INVALID', 'input.timeoutMs']]],
      [{ script, timeoutMs: 300_001 }, [['INVALID', 'input.timeoutMs']]],
      [{ script: 'nonsense' }, [['NOT_FOUND', 'input.script']]],
      [{ script: setting.projectId }, [['NOT_FOUND', 'input.script']]],
    ];
    for (const [input, expected] of cases) expect([input, await refused(invoke(input))]).toEqual([input, expected]);
    expect(await refused(invoke({ script }, setting.mallory))).toEqual([['NOT_FOUND', 'input.script']]);
  });
});
