import { beforeAll, describe, expect, test } from 'vitest';
import { makeProject } from '../support/people.ts';
import { append } from './asking.ts';
import { ada, gateway } from './setting.ts';

const ids: string[] = [];
/** Together more than one operation reads. */
const projects = 12;
beforeAll(async () => {
  for (let n = 0; n < projects; n += 1) {
    const id = await makeProject(gateway, `large-${n}`, ada);
    const { messages } = await append(gateway, ada.token, id, [{ messageId: 'm', content: 'x'.repeat(3_900_000) }]);
    ids.push(messages?.[0]?.id ?? '');
  }
});

const ask = (query: string, variables = {}) => gateway.request<never>(query, variables, { token: ada.token });
const codes = (errors: { extensions: { code: string } }[] | undefined) =>
  new Set(errors?.map(({ extensions }) => extensions.code));

describe('large messages', () => {
  test.each([
    ['of many projects', '{ projects(first: 100) { nodes { messages(last: 1) { nodes { content } } } } }', {}],
    ['by many ids', 'query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Message { content } } }', { ids }],
    [
      'by many aliases of a list',
      `{ ${Array.from({ length: projects }, (_, n) => `p${n}: project(by: { slug: "large-${n}" }) { messages(first: ${n + 1}) { nodes { content } } }`).join(' ')} }`,
      {},
    ],
    [
      'by many aliases of a field',
      `{ project(by: { slug: "large-0" }) { messages(last: 1) { nodes { ${Array.from({ length: 40 }, (_, n) => `c${n}: content`).join(' ')} } } } }`,
      {},
    ],
  ])('%s are refused beyond what one operation may carry', async (_name, query, variables) => {
    expect(codes((await ask(query, variables)).errors)).toEqual(new Set(['LIMIT_EXCEEDED']));
  });

  test('are answered up to that, and without their content they are small', async () => {
    const some = await ask('query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Message { content } } }', {
      ids: ids.slice(0, 4),
    });
    expect(some.errors).toBeUndefined();
    const all = await ask('query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Message { messageId } } }', { ids });
    expect(all.errors).toBeUndefined();
    const { errors } = await ask('{ projects(first: 100) { nodes { messages(last: 1) { nodes { messageId } } } } }');
    expect(errors).toBeUndefined();
  });
});
