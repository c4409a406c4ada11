import { describe, expect, test } from 'vitest';
import { rows } from '../support/sql.ts';
import { ada, gateway, project } from './setting.ts';

interface Put {
  snapshot: { sizeBytes: number; summary: string | null; createdAt: string; updatedAt: string } | null;
  userErrors: { code: string; message: string; path: string[] }[];
}

async function put(id: string, files: unknown, summary?: string | null): Promise<Put> {
  const { putSnapshot } = await gateway.ask<{ putSnapshot: Put }>(
    `mutation ($i: PutSnapshotInput!) {
      putSnapshot(input: $i) { snapshot { sizeBytes summary createdAt updatedAt } userErrors { code message path } }
    }`,
    { i: { project: { id }, files, summary } },
    { token: ada.token },
  );
  return putSnapshot;
}

const read = (id: string, fields = 'files summary sizeBytes createdAt updatedAt') =>
  gateway.request<{ project: { snapshot: Record<string, unknown> | null } | null }>(
    `query ($id: ID!) { project(by: { id: $id }) { snapshot { ${fields} } } }`,
    { id },
    { token: ada.token },
  );

describe('through GraphQL', () => {
  test('files come back as they were put, and the next snapshot takes their place', async () => {
    const id = await project();
    expect((await read(id)).data.project?.snapshot).toBeNull();
    const files = { 'src/a.ts': { type: 'file', content: 'a\n"é"', n: 1e-300 }, 'src/b': [null, true, {}], '': '' };
    const first = await put(id, files, 'The first');
    expect(first).toMatchObject({ snapshot: { summary: 'The first' }, userErrors: [] });
    expect((await read(id)).data.project?.snapshot).toMatchObject({ files, summary: 'The first' });
    const second = await put(id, ['b'], null);
    const { createdAt, updatedAt } = second.snapshot ?? { createdAt: '', updatedAt: '' };
    expect(createdAt).toBe(first.snapshot?.createdAt);
    expect(updatedAt > createdAt).toBe(true);
    expect((await read(id)).data.project?.snapshot).toMatchObject({
      files: ['b'],
      summary: null,
      createdAt,
      updatedAt,
    });
    expect(
      await rows(
        gateway.database.owner,
        `select op, principal_id from feed.events where topic = 'snapshots' and entity_id = $1 order by position`,
        [id],
      ),
    ).toEqual([
      { op: 'insert', principal_id: ada.uuid },
      { op: 'update', principal_id: ada.uuid },
    ]);
  });

  test('what was put answers its files too', async () => {
    const id = await project();
    const { putSnapshot } = await gateway.ask<{ putSnapshot: object }>(
      'mutation ($i: PutSnapshotInput!) { putSnapshot(input: $i) { snapshot { files } } }',
      { i: { project: { id }, files: { a: 1 } } },
      { token: ada.token },
    );
    expect(putSnapshot).toEqual({ snapshot: { files: { a: 1 } } });
  });

  test('up to 8 MB pass; one byte more is PAYLOAD_TOO_LARGE', async () => {
    const id = await project();
    const exactly = (bytes: number) => ({ f: 'x'.repeat(bytes - '{"f":""}'.length) });
    expect(await put(id, exactly(8_000_000))).toMatchObject({ userErrors: [] });
    expect(await put(id, exactly(8_000_001))).toMatchObject({
      snapshot: null,
      userErrors: [
        { code: 'PAYLOAD_TOO_LARGE', path: ['input', 'files'], message: expect.stringContaining('PUT /projects/') },
      ],
    });
    const { data } = await read(id);
    expect(JSON.stringify(data.project?.snapshot?.files)).toHaveLength(8_000_000);
  });

  test.each<[string, unknown, RegExp]>([
    ['a number', 5, /Expected files as an object/],
    ['a text', 'x', /Expected files as an object/],
    ['a NUL', { 'a.ts': { content: 'a\0' } }, /files\.a\.ts\.content contains U\+0000/],
  ])('%s is refused by name', async (_name, files, message) => {
    const { userErrors } = await put(await project(), files);
    expect(userErrors).toMatchObject([
      { code: 'INVALID', path: ['input', 'files'], message: expect.stringMatching(message) },
    ]);
  });

  test('more than one operation can carry is refused, and says where it is to be had', async () => {
    const id = await project();
    await fetch(`${gateway.url}/projects/${id}/snapshot`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ files: { f: 'x'.repeat(17_000_000) } }),
    });
    const { errors } = await read(id);
    expect(errors?.[0]).toMatchObject({
      extensions: { code: 'LIMIT_EXCEEDED' },
      message: expect.stringContaining('GET /projects/'),
    });
    expect((await read(id, 'sizeBytes')).data.project?.snapshot).toEqual({ sizeBytes: 17_000_009 });
    const small = await project();
    await put(small, { s: 1 });
    const { projects } = (
      await gateway.request<{ projects: { nodes: { id: string; snapshot: { files: unknown } | null }[] } }>(
        '{ projects(first: 100, filter: null) { nodes { slug snapshot { files } } } }',
        {},
        { token: ada.token },
      )
    ).data;
    // The small ones are answered beside it.
    expect(projects.nodes.filter(({ snapshot }) => snapshot !== null).length).toBeGreaterThan(0);
  });
});
