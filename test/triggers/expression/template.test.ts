import { describe, expect, test } from 'vitest';
import { openRealm } from '../../../src/triggers/expression/realm.ts';
import { checkExpression, checkTemplate } from '../../../src/triggers/expression/template.ts';

describe('a template', () => {
  test('may hold expressions anywhere, and anything else as it is', () => {
    expect(
      checkTemplate({ id: '=entityId', list: ['=data.after[0]', { deep: '="=literal"' }], text: 'a)', n: 1 }),
    ).toEqual([]);
    expect(checkTemplate('=type')).toEqual([]);
    expect(checkTemplate(null)).toEqual([]);
  });

  test('names each expression that cannot be read by its path', () => {
    expect(checkTemplate({ id: '=entityId', list: ['=a +', { 'b.c': '=(a' }] })).toEqual([
      {
        path: ['list', '0'],
        message: 'Expected a JSONata expression; expected a value, got the end (at character 3).',
      },
      {
        path: ['list', '1', 'b.c'],
        message: 'Expected a JSONata expression; expected ")", got the end (at character 2).',
      },
    ]);
  });

  test('nests at most fifty levels deep', () => {
    const nested = (levels: number): unknown => (levels === 0 ? '=type' : { a: nested(levels - 1) });
    expect(checkTemplate(nested(50))).toEqual([]);
    expect(checkTemplate(nested(51))).toEqual([
      { path: Array.from({ length: 50 }, () => 'a'), message: 'Expected at most 50 levels of nesting, got more.' },
    ]);
    expect(checkTemplate(JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`))).toHaveLength(1);
  });

  test('has at most a thousand expressions, of ten thousand characters each and a hundred thousand together', () => {
    const expressions = (many: number) => Array.from({ length: many }, () => '=1');
    expect(checkTemplate(expressions(1_000))).toEqual([]);
    expect(checkTemplate(expressions(1_001))).toEqual([
      { path: [], message: 'Expected at most 1,000 expressions, got 1,001.' },
    ]);
    const text = (characters: number) => `="${'x'.repeat(characters - 2)}"`;
    expect(checkTemplate([text(10_000)])).toEqual([]);
    expect(checkTemplate(Array.from({ length: 11 }, () => text(9_100)))).toEqual([
      { path: [], message: 'Expected expressions of at most 100,000 characters together, got 100,100.' },
    ]);
    expect(checkTemplate(['=1', text(10_001)])).toEqual([
      { path: ['1'], message: 'Expected an expression of at most 10,000 characters, got 10,001.' },
    ]);
  });

  test('cannot keep the gateway reading for long', () => {
    const costly = Array.from({ length: 10 }, () => `${'a.'.repeat(2_000)}[${'%,'.repeat(2_000)}%]`);
    const realm = () => openRealm({ mostMs: 1, shared: false });
    expect(realm().check(costly, 1)).toBeNull();
    expect(realm().check(costly, 30_000)).toEqual(costly.map(() => null));
  });
});

describe('an expression', () => {
  test('that can be read has nothing wrong with it', () => {
    for (const text of [
      'type',
      'changed[$ = "status"]',
      '"status" in changed and data.after.status = "merged"',
      '($f := function($n){ $n }; $f(1))',
      '$ ~> |data|{}, ["secret"]|',
      '/a|b/i',
    ]) {
      expect(checkExpression(text)).toBeNull();
    }
  });

  test.each([
    ['', 'expected a value, got the end'],
    ['a b', 'expected an operator or the end, got "b" (at character 3)'],
    ['f(1', 'expected ")", got the end (at character 3)'],
    ['[1}', 'expected "]", got "}" (at character 3)'],
    ['"abc', 'expected a closing quotation mark, got the end (at character 4)'],
    ['"\\q"', 'expected one of the escapes \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u, got \\q (at character 2)'],
    ['`a', 'expected a closing backquote (`), got the end (at character 2)'],
    ['1 := 2', 'expected a variable, such as $x, before := (at character 1)'],
    ['function(x){1}', 'expected parameters that begin with $, got "1" (at character 10)'],
    ['/a', 'expected a slash after the regular expression, got the end (at character 2)'],
    ['/* a', 'expected */ after the comment, got the end'],
    ['/+/', 'invalid regular expression: /+/g: Nothing to repeat'],
    ['('.repeat(9_000), 'expected less nesting, got more than can be worked on'],
  ])('%j is refused in words: %s', (text, words) => {
    expect(checkExpression(text)).toContain(`Expected a JSONata expression; ${words}`);
  });
});
