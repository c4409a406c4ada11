import { type DocumentNode, parse, print, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import { schema } from '../../../src/graphql/schema.ts';
import { parseWithin } from '../../../src/server/limits.ts';
import { createDocuments, refusedField } from '../../../src/triggers/script/document.ts';

const parseHere = parseWithin({ depth: 6, cost: 1_000, aliases: 5, tokens: 200 });
const { check, compile } = createDocuments(schema, parseHere);
const asked = `${refusedField}: userErrors { code message }`;

/** A document without the differences that layout makes. */
const plain = (document: DocumentNode | string): string =>
  print(typeof document === 'string' ? parse(document) : document);

describe('the document of a script', () => {
  test.each([
    ['a query', '{ cursor }'],
    ['a mutation', 'mutation ($name: String!) { registerProject(input: { name: $name }) { project { id } } }'],
    [
      'one operation with fragments',
      'query { projects { ...Some } } fragment Some on ProjectConnection { nodes { id } }',
    ],
  ])('can be %s', (_what, text) => {
    expect(check(text)).toBeNull();
  });

  test.each([
    ['no GraphQL', 'select 1', /^Syntax Error: .*\(line 1, column 1\)$/],
    ['a field that there is not', '{\n  cursor\n  cursors\n}', /^Cannot query field "cursors".*\(line 3, column 3\)$/],
    ['an input that is none of the schema', 'mutation { registerProject(input: { names: "x" }) { cursor } }', /names/],
    ['a variable that is not declared', '{ project(project: { slug: $slug }) { id } }', /\$slug/],
    ['several operations', 'query A { cursor } query B { cursor }', /^Expected one operation, got 2/],
    [
      'fragments alone',
      'fragment Some on Project { id }',
      /^Fragment "Some" is never used|^Expected one operation, got 0/,
    ],
    ['a subscription', 'subscription { events { cursor } }', /^Expected a query or a mutation, got a subscription/],
    ['nothing', '', /^Syntax Error: Unexpected <EOF>/],
    ['more tokens than the gateway takes', `{ ${'cursor '.repeat(300)} }`, /200 tokens/],
    ['more aliases than the gateway takes', `{ ${'abcdef'.split('').map((name) => `${name}: cursor `)} }`, /6 aliases/],
    [
      'deeper than the gateway takes',
      '{ projects { nodes { worktrees { nodes { project { worktrees { nodes { id } } } } } } } }',
      /nests 8 levels/,
    ],
  ])('is refused for being %s, with the reason', (_what, text, reason) => {
    expect(check(text)).toMatch(reason);
  });

  test.each([
    ['in a mutation', `mutation { registerProject(input: { name: "x" }) { ${refusedField}: project { id } } }`],
    [
      'in a fragment',
      `mutation { registerProject(input: { name: "x" }) { ...Made } }
       fragment Made on RegisterProjectPayload { ${refusedField}: cursor }`,
    ],
    ['in a query', `{ project(by: { slug: "x" }) { ${refusedField}: id } }`],
    ['for more of them', `mutation { registerProject(input: { name: "x" }) { ${refusedField}: userErrors { path } } }`],
  ])('is refused for taking the name under which refusals are asked for, %s', (_where, text) => {
    expect(check(text) ?? 'null').toContain(refusedField);
  });
});

const within = (items: readonly unknown[]): string => (items.length === 0 ? '' : `(${items.join(', ')})`);

describe('a mutation', () => {
  const register = (selection: string) => `registerProject(input: { name: "x" }) { ${selection} }`;

  test.each([
    ['itself', `mutation { ${register('cursor')} }`, `mutation { ${register(`cursor ${asked}`)} }`],
    [
      'under each of its aliases',
      `mutation { a: ${register('cursor')} b: ${register('cursor')} }`,
      `mutation { a: ${register(`cursor ${asked}`)} b: ${register(`cursor ${asked}`)} }`,
    ],
    [
      'within an inline fragment',
      `mutation { ... on Mutation { ${register('cursor')} } ... @include(if: true) { b: ${register('cursor')} } }`,
      `mutation { ... on Mutation { ${register(`cursor ${asked}`)} } ... @include(if: true) { b: ${register(`cursor ${asked}`)} } }`,
    ],
    [
      'within a fragment',
      `mutation { ...Doing } fragment Doing on Mutation { ${register('cursor')} }`,
      `mutation { ...Doing } fragment Doing on Mutation { ${register(`cursor ${asked}`)} }`,
    ],
    [
      'whose payload is asked for by a fragment',
      `mutation { ${register('...Made')} } fragment Made on RegisterProjectPayload { project { id } }`,
      `mutation { ${register(`...Made ${asked}`)} } fragment Made on RegisterProjectPayload { project { id } }`,
    ],
    [
      'that is asked already, by its author',
      `mutation { ${register('userErrors { path }')} }`,
      `mutation { ${register(`userErrors { path } ${asked}`)} }`,
    ],
  ])('is asked what it refused: %s', (_what, text, made) => {
    expect(check(text)).toBeNull();
    const { document } = compile(text);
    expect(plain(document)).toBe(plain(made));
    expect(validate(schema, document)).toEqual([]);
  });

  test('is asked so for everything that the API can do', () => {
    const fields = Object.values(schema.getMutationType()?.getFields() ?? {});
    expect(fields.length).toBeGreaterThan(40);
    for (const { name, args } of fields) {
      const inputs = args.map((arg) => [`$${arg.name}: ${arg.type}`, `${arg.name}: $${arg.name}`]);
      const [variables, given] = [0, 1].map((part) => within(inputs.map((input) => input[part])));
      const text = `mutation ${variables} { ${name}${given} { __typename } }`;
      expect(plain(compile(text).document), name).toContain(`${refusedField}: userErrors`);
    }
  });

  test('nothing is added to a query', () => {
    const text = '{ projects { nodes { id } } }';
    expect(plain(compile(text).document)).toBe(plain(text));
  });
});

describe('what was compiled', () => {
  test('is kept, of as many documents as are run at a time', () => {
    const texts = Array.from({ length: 501 }, (_, n) => `query N${n} { cursor }`);
    const own = createDocuments(schema, parse);
    const compiled = texts.map((text) => own.compile(text));
    expect(own.compile(texts[500] ?? '')).toBe(compiled[500]);
    expect(own.compile(texts[1] ?? '')).toBe(compiled[1]);
    const [first = ''] = texts;
    expect(own.compile(first)).not.toBe(compiled[0]);
    expect(own.compile(first).operation.name?.value).toBe('N0');
  });

  test('what cannot be compiled is not kept as if it could', () => {
    const own = createDocuments(schema, parse);
    expect(() => own.compile('{ cursors }')).toThrow('Cannot query field');
    expect(() => own.compile('{ cursors }')).toThrow('Cannot query field');
  });
});
