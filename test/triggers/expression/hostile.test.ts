import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createExpressions } from '../../../src/triggers/expression/expressions.ts';

const expressions = createExpressions();
/** With so much time that only what it does can fail. */
const patient = createExpressions({ mostMs: 10_000 });
afterAll(() => Promise.all([expressions.close(), patient.close()]));

const event = { type: 'worktrees.update', list: [] as unknown[], data: { after: { status: 'merged' } } };

async function render(template: unknown): Promise<unknown> {
  const [evaluation] = await patient.render([{ template, event }]);
  return evaluation?.ok ? evaluation.value : { failed: evaluation?.error };
}

/** A function of the language itself, which JSONata makes of one of its own when it passes it to another. */
const native = (body: string) => `$append(function($a){ ${body} }, [0])[0]`;
const endless = '($f := function($n){ $f($n + 1) }; $f(0))';

describe('what is written to hurt', () => {
  test('fails with what it did, and everybody else of the batch gets the right answer', async () => {
    const hostile: [string, string][] = [
      [endless, 'within 250 ms'],
      ['($f := function($n){ 1 + $f($n + 1) }; $f(0))', 'endless recursion'],
      ['[1..10000000]', 'at most 100,000 items'],
      ['$contains($pad("", 50, "a") & "!", /^(\\w|\\w\\w)+$/)', 'within 250 ms'],
      ['($f := function($v, $n){ $n = 0 ? $v : $f([[$v], [$v]], $n - 1) }; $string($f("x", 40)))', 'within 250 ms'],
      [`{"then": ${native('1')}}`, 'within 250 ms'],
      [`$eval("${endless}")`, 'Evaluation timeout after'],
    ];
    const jobs = hostile.flatMap(([text], index) => [
      { template: `=${text}`, event },
      { template: { index: `=index + ${index}` }, event: { index } },
    ]);
    const evaluations = await expressions.render(jobs);
    expect(evaluations).toEqual(
      hostile.flatMap(([, words], index) => [
        { ok: false, error: expect.stringContaining(words) },
        { ok: true, value: { index: 2 * index } },
      ]),
    );
  });

  test('ends the process with too much memory, and those who call at the same time do not notice', async () => {
    const calls = Array.from({ length: 8 }, (_, index) =>
      patient.test([
        { condition: `index = ${index}`, event: { index } },
        { condition: index === 3 ? '$count($map([1..100000], function($i){ [1..10000] })) > 0' : 'false', event },
      ]),
    );
    for (const [index, evaluations] of (await Promise.all(calls)).entries()) {
      expect(evaluations).toEqual([
        { ok: true, value: true },
        index === 3 ? { ok: false, error: expect.stringContaining('128 MB') } : { ok: true, value: false },
      ]);
    }
  });
});

describe('nothing of one expression reaches another', () => {
  const theft = `($n := ${native('"stolen"')}; $ ~> |$sum|{"implementation": $n}|)`;

  test('a transform changes no function for those who come after', async () => {
    const quoted = JSON.stringify(theft);
    const thefts = [
      theft,
      `$eval(${quoted})`,
      `($e := $eval; $e(${quoted}))`,
      `${quoted} ~> $eval`,
      `$map([${quoted}], $eval)`,
      `$eval("$ev" & "al")(${quoted})`,
      '($clone := function($x){ $x }; $sum ~> |$|{"implementation": $clone}|)',
    ];
    for (const text of thefts) {
      await render(`=${text}`);
      expect(await render('=$sum([1, 2])')).toBe(3);
    }
  });

  test('the event is as it was for the next expression, of the same template too', async () => {
    const changes = ['=$ ~> |$$.data|{"after": "stolen"}|', '=list{"a": 1}', '=data.after ~> |$$|{}, ["type"]|'];
    const seen = await render([...changes, '=$']);
    expect((seen as unknown[]).at(-1)).toEqual(event);
    const evaluations = await patient.render([...changes, '=$'].map((template) => ({ template, event })));
    expect(evaluations.at(-1)).toEqual({ ok: true, value: event });
  });

  test('variables are gone', async () => {
    expect(await render(['=$x := 1', '=$x', '=($sum := 1; $sum)', '=$sum([1, 2])'])).toEqual([1, null, 1, 3]);
  });

  test('prototypes stay what they are, whatever the keys are called', async () => {
    const keys = { ['__proto__']: { polluted: true }, constructor: { prototype: { polluted: true } } };
    const [own] = await patient.render([{ template: { ['__proto__']: '=$' }, event: keys }]);
    expect(JSON.stringify(own)).toBe(`{"ok":true,"value":{"__proto__":${JSON.stringify(keys)}}}`);
    await patient.render([
      { template: '=$merge([$, {"a": {}}])', event: keys },
      { template: '=$ ~> |$|{"__proto__": {"polluted": true}, "constructor": 1}|', event: {} },
      { template: '={"__proto__": {"polluted": true}}.polluted', event: {} },
    ]);
    expect(await render(['=$spread({}).polluted', '=$lookup({}, "polluted")', '=constructor', '=toString'])).toEqual([
      null,
      null,
      null,
      null,
    ]);
    expect({}).not.toHaveProperty('polluted');
  });

  test('what an expression leaves behind does not take the next one with it', async () => {
    const leave = (body: string) => `=$string({"toJSON": ${native(body)}})`;
    const evaluations = await expressions.render([
      { template: leave('$error("later")'), event },
      { template: leave(endless), event },
      { template: '=type', event },
    ]);
    expect(evaluations).toEqual([
      { ok: true, value: '{}' },
      { ok: true, value: '{}' },
      { ok: true, value: event.type },
    ]);
  });

  test("there is nothing of the gateway's within reach", async () => {
    const names = ['process', 'require', 'globalThis', 'window', 'limits', 'questions', 'constructor'];
    expect(await render(names.map((name) => `=$${name}`))).toEqual(names.map(() => null));
    expect(await render('=$keys($sum)')).toBeNull();
  });

  test('a condition answers the same alone and in any company', async () => {
    const conditions = [
      'type = "a"',
      '$sum(list) = 3',
      '$string(list) = "[1,2]"',
      '$x = 1',
      '($x := 1; $x = 1)',
      '$count(list) > 1 and $not(type = "b")',
      'list + 1',
      `${theft} = 1`,
      '($ ~> |$$|{"type": "a"}|).type = "a"',
      '$map(["x"], $number)',
      '($secret := $number; $secret("1") = 1)',
      '$boolean($$.type())',
    ];
    const about = fc.constantFrom({ type: 'a', list: [1, 2] }, { type: 'b', list: [] }, { list: ['x'] });
    const job = fc.record({ condition: fc.constantFrom(...conditions), event: about });
    const known = new Map<string, unknown>();
    for (const condition of conditions) {
      for (const event of [{ type: 'a', list: [1, 2] }, { type: 'b', list: [] }, { list: ['x'] }]) {
        const fresh = await patient.test([{ condition, event }]);
        known.set(JSON.stringify({ condition, event }), fresh[0]);
      }
    }
    expect(new Set([...known.values()].map((evaluation) => JSON.stringify(evaluation))).size).toBeGreaterThan(3);
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 12 }), async (jobs) => {
        expect(await patient.test(jobs)).toEqual(jobs.map((job) => known.get(JSON.stringify(job))));
      }),
      { numRuns: 40 },
    );
  });
});
