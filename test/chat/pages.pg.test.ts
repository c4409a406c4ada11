import { describe, expect, test } from 'vitest';
import { makePerson, makeProject } from '../support/people.ts';
import { size } from '../support/size.ts';
import { append, numbered, type Page, readAll, readPage, type Stored } from './asking.ts';
import { ada, gateway } from './setting.ts';

/** From the end to the beginning, as a client that scrolls up. */
async function scrollUp(project: string, last: number, onPage: (page: Page) => void = () => {}): Promise<Stored[]> {
  let all: Stored[] = [];
  for (let before: string | null = null; ; ) {
    const page = await readPage(gateway, ada.token, project, { last, ...(before === null ? {} : { before }) });
    onPage(page);
    all = [...page.nodes, ...all];
    if (!page.pageInfo.hasPreviousPage) return all;
    before = page.pageInfo.startCursor;
  }
}

describe('reading a chat', () => {
  test('backwards from the newest while others append gives every message once, in order', async () => {
    const id = await makeProject(gateway, 'scrolled', ada);
    const before = size(500);
    for (let n = 0; n < before; n += 50)
      await append(gateway, ada.token, id, numbered('old', n, Math.min(50, before - n)));
    let reading = true;
    let written = 0;
    const writers = Array.from({ length: 2 }, async (_, session) => {
      for (let n = 0; reading; n += 1) {
        await append(gateway, ada.token, id, numbered(`new-${session}`, n, 1));
        written += 1;
      }
    });
    for (let round = 0; round < size(30); round += 1) {
      const all = await scrollUp(id, 40 + round);
      expect(all.length).toBeGreaterThanOrEqual(before);
      expect(all.map(({ sequenceNum }) => sequenceNum)).toEqual(all.map((_, n) => n));
      expect(new Set(all.map(({ messageId }) => messageId)).size).toBe(all.length);
    }
    reading = false;
    await Promise.all(writers);
    expect(written).toBeGreaterThan(0);
    expect(await readAll(gateway, ada.token, id)).toHaveLength(before + written);
  });

  test('opens at its end, and says whether there is more', async () => {
    const id = await makeProject(gateway, 'opened', ada);
    await append(gateway, ada.token, id, numbered('m', 0, 60));
    const end = await readPage(gateway, ada.token, id, { last: 50 });
    expect(end.nodes.map(({ sequenceNum }) => sequenceNum)).toEqual(Array.from({ length: 50 }, (_, n) => n + 10));
    expect(end.pageInfo).toMatchObject({ hasPreviousPage: true, hasNextPage: false });
    const older = await readPage(gateway, ada.token, id, { last: 50, before: end.pageInfo.startCursor ?? '' });
    expect(older.nodes.map(({ sequenceNum }) => sequenceNum)).toEqual(Array.from({ length: 10 }, (_, n) => n));
    expect(older.pageInfo).toMatchObject({ hasPreviousPage: false, hasNextPage: true });
  });

  test('of large messages goes in smaller pages, and misses none', async () => {
    const id = await makeProject(gateway, 'large', ada);
    const large = (n: number) => ({ messageId: `m${n}`, content: 'x'.repeat(3_000_000) });
    for (let n = 0; n < 7; n += 1) await append(gateway, ada.token, id, [large(n)]);
    await append(gateway, ada.token, id, numbered('small', 0, 3));
    const sizes: number[] = [];
    const up = await scrollUp(id, 100, (page) => sizes.push(page.nodes.length));
    expect(up.map(({ sequenceNum }) => sequenceNum)).toEqual(Array.from({ length: 10 }, (_, n) => n));
    expect(sizes).toEqual([6, 3, 1]);
    const down = await readAll(gateway, ada.token, id);
    expect(down.map(({ content }) => String(content).length)).toEqual([
      ...Array.from({ length: 7 }, () => 3_000_000),
      7,
      7,
      7,
    ]);
    // Without their content, they are small.
    const { project } = await gateway.ask<{ project: { messages: { nodes: object[] } } }>(
      `{ project(by: { id: "${id}" }) { messages(last: 100) { nodes { messageId } } } }`,
      {},
      { token: ada.token },
    );
    expect(project.messages.nodes).toHaveLength(10);
  });

  test('of many projects costs one statement, whatever is selected', async () => {
    const ids = await Promise.all(Array.from({ length: 12 }, (_, n) => makeProject(gateway, `many-${n}`, ada)));
    for (const [n, id] of ids.entries()) await append(gateway, ada.token, id, numbered('m', 0, n));
    gateway.takeStatements();
    const query = (fields: string) =>
      `{ projects(first: 100) { nodes { slug messages(last: 5) { nodes { ${fields} } } } } }`;
    const { projects } = await gateway.ask<{ projects: { nodes: { slug: string; messages: { nodes: Stored[] } }[] } }>(
      query('sequenceNum content annotations'),
      {},
      { token: ada.token },
    );
    const ofChats = () => gateway.takeStatements().filter(({ query }) => query.sql.includes('chat.'));
    expect(ofChats()).toHaveLength(1);
    const found = new Map(projects.nodes.map(({ slug, messages }) => [slug, messages.nodes]));
    for (const n of ids.keys()) {
      expect(found.get(`many-${n}`)?.map(({ sequenceNum }) => sequenceNum)).toEqual(
        Array.from({ length: n }, (_, number) => number).slice(-5),
      );
    }
    await gateway.ask(query('id author { handle } project { name }'), {}, { token: ada.token });
    expect(ofChats()).toHaveLength(1);
  });

  test('by id', async () => {
    const id = await makeProject(gateway, 'by-id', ada);
    const { messages } = await append(gateway, ada.token, id, numbered('m', 0, 1));
    const find = (token: string) =>
      gateway.request<{ node: unknown }>(
        'query ($id: ID!) { node(id: $id) { ... on Message { content project { slug } } } }',
        { id: messages?.[0]?.id },
        { token },
      );
    expect((await find(ada.token)).data.node).toEqual({ content: 'm 0', project: { slug: 'by-id' } });
    const stranger = await makePerson(gateway, 'stranger');
    expect((await find(stranger.token)).data.node).toBeNull();
    const scopeless = await makePerson(gateway, 'scopeless', ['REGISTRY_READ']);
    expect((await find(scopeless.token)).errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
