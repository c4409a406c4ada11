import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { createExpressions } from '../../../src/triggers/expression/expressions.ts';

// So much time that nothing here fails for want of it.
const expressions = createExpressions({ mostMs: 10_000 });
afterAll(() => expressions.close());

const event = { type: 'worktrees.update', changed: ['status'], data: { after: { status: 'merged', size: 3 } } };

async function render(template: unknown, about: unknown = event): Promise<unknown> {
  const [evaluation] = await expressions.render([{ template, event: about }]);
  return evaluation?.ok ? evaluation.value : { failed: evaluation?.error };
}

async function isTrue(condition: string): Promise<unknown> {
  const [evaluation] = await expressions.test([{ condition, event }]);
  return evaluation?.ok ? evaluation.value : { failed: evaluation?.error };
}

function failedWith(words: string) {
  return { failed: expect.stringContaining(words) };
}

describe('rendering', () => {
  test('puts the values of expressions in their places', async () => {
    expect(await render({ id: '=data.after.size + 1', list: ['x', '=changed', { at: '=type' }], n: null })).toEqual({
      id: 4,
      list: ['x', ['status'], { at: 'worktrees.update' }],
      n: null,
    });
    expect(await render('="=" & type')).toBe('=worktrees.update');
  });

  test('leaves out of an object what yields nothing; elsewhere that is null', async () => {
    expect(await render({ a: '=nothing', b: ['=nothing', 1], c: { d: '=nothing' } })).toEqual({ b: [null, 1], c: {} });
    expect(await render('=nothing')).toBeNull();
    expect(await render('=null')).toBeNull();
  });

  test('a template without expressions is itself, and needs nobody to evaluate it', async () => {
    const closed = createExpressions();
    await closed.close();
    const key = fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', '0'));
    const leaf = fc.oneof(
      fc.string().filter((text) => !text.startsWith('=')),
      fc.constantFrom(' =type', 'a = b', null, true),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0),
    );
    const { json } = fc.letrec<{ json: unknown }>((tie) => ({
      json: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('json')), fc.dictionary(key, tie('json'))),
    }));
    await fc.assert(
      fc.asyncProperty(json, async (template) => {
        const [evaluation] = await closed.render([{ template, event }]);
        expect(JSON.stringify(evaluation)).toBe(JSON.stringify({ ok: true, value: template }));
      }),
    );
    await expect(closed.render([{ template: '=type', event }])).rejects.toThrow('closed');
  });

  test('a path is a plain look-up', async () => {
    const name = fc.constantFrom('a', 'b', 'c', 'constructor', 'toString', '__proto__');
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean());
    const { node } = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof({ maxDepth: 3 }, leaf, fc.dictionary(name, tie('node'), { maxKeys: 4 })),
    }));
    const about = fc.dictionary(name, node, { maxKeys: 4 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(about, fc.array(name, { minLength: 1, maxLength: 4 })), { maxLength: 8 }),
        async (looks) => {
          const evaluations = await expressions.render(
            looks.map(([about, path]) => ({ template: { x: `=${path.join('.')}` }, event: about })),
          );
          const lookUp = (value: unknown, key: string) =>
            typeof value === 'object' && value !== null && Object.hasOwn(value, key)
              ? (value as Record<string, unknown>)[key]
              : undefined;
          const expected = looks.map(([about, path]) => ({
            ok: true,
            value: { x: path.reduce(lookUp, about as unknown) },
          }));
          // As JSON, in which a key of __proto__ is one like all others.
          expect(JSON.stringify(evaluations)).toBe(JSON.stringify(expected));
        },
      ),
      { numRuns: 50 },
    );
  });

  test.each([
    ['=$sum', 'a function'],
    ['=[$sum]', 'a function'],
    ['=/a/', 'a function'],
    ['=1/0', 'an infinite one or none'],
    ['=$pad("", 1000000, "x")', 'at most 1,000,000 characters'],
    [
      '=($f := function($v, $n){ $n = 0 ? $v : $f([[$v], [$v]], $n - 1) }; $f("x", 30))',
      'at most 1,000,000 characters',
    ],
    ['=($f := function($v, $n){ $n = 0 ? $v : $f({"a": $v}, $n - 1) }; $f("x", 201))', '200 levels deep'],
    ['=$ ~> |$|{"__proto__": {"polluted": true}}|', 'that JSON can hold'],
  ])('what is no JSON value, or a large one, is refused: %s', async (template, words) => {
    expect(await render(template)).toEqual(failedWith(words));
  });

  test('a rendered template has at most a million characters in all', async () => {
    const half = '=$pad("", 500000, "x")';
    expect(await render([half])).toHaveLength(1);
    expect(await render([half, half])).toEqual(failedWith('at most 1,000,000 characters'));
    expect(await render(['x'.repeat(500_000), half])).toEqual(failedWith('at most 1,000,000 characters'));
  });

  test('many large values come in one call', async () => {
    const jobs = Array.from({ length: 8 }, (_, n) => ({ template: ['=$pad("", 400000, "x")', '=n'], event: { n } }));
    const evaluations = await expressions.render(jobs);
    expect(evaluations).toEqual(jobs.map(({ event: { n } }) => ({ ok: true, value: ['x'.repeat(400_000), n] })));
  });

  test('an error names the place in the template and in the expression', async () => {
    expect(await render({ input: { size: '=type', next: '=data.after.status + 1' } })).toEqual({
      failed:
        'The expression at input.next failed: the left side of the "+" operator must evaluate to a number (at character 19).',
    });
    expect(await render('=$error("No owner.")')).toEqual(failedWith('failed: No owner.'));
  });

  test('a text may be written as bytes in base64', async () => {
    expect(await render('=$base64encode("user:pass")')).toBe('dXNlcjpwYXNz');
    expect(await render('=$base64encode("ÿ")')).toBe('/w==');
    expect(await render('=$base64encode("€")')).toEqual(failedWith('up to U+00FF'));
    expect(await render('=$base64decode("*")')).toEqual(failedWith('base64'));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array(), async (bytes) => {
        const text = Buffer.from(bytes).toString('latin1');
        expect(
          await render(['=$base64encode(text)', '=$base64decode(encoded)'], {
            text,
            encoded: Buffer.from(bytes).toString('base64'),
          }),
        ).toEqual([Buffer.from(bytes).toString('base64'), text]);
      }),
      { numRuns: 20 },
    );
  });
});

describe('a condition', () => {
  test('is met by true and by nothing else', async () => {
    expect(await isTrue('data.after.status = "merged" and "status" in changed')).toBe(true);
    for (const condition of ['false', '1', '"true"', '[true]', '{"a": true}', 'nothing', 'null', '$sum', 'type']) {
      expect(await isTrue(condition)).toBe(false);
    }
  });

  test('that fails says why', async () => {
    expect(await isTrue('type > 1')).toEqual(failedWith('The condition failed: '));
    expect(await isTrue('a +')).toEqual(failedWith('expected a value, got the end (at character 3)'));
  });
});
