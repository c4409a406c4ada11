import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { makePerson, makeProject, type Person, setMember } from '../support/people.ts';
import { size } from '../support/size.ts';

const mostBytes = 50_000_000;

let gateway: TestGateway;
let ada: Person;
let count = 0;
beforeAll(async () => {
  gateway = await startGateway({ environment: { TREELINE_STALL_MS: '2000' } });
  ada = await makePerson(gateway, 'ada');
});
afterAll(() => gateway.close());

const project = () => {
  count += 1;
  return makeProject(gateway, `snapshot-${count}`, ada);
};

const read = (id: string, fields = 'files summary sizeBytes createdAt updatedAt') =>
  gateway.request<{ project: { snapshot: Record<string, unknown> | null } | null }>(
    `query ($id: ID!) { project(by: { id: $id }) { snapshot { ${fields} } } }`,
    { id },
    { token: ada.token },
  );

interface Answered {
  status: number;
  body: {
    errors?: { message: string; extensions: { code: string; limit?: number } }[];
    files?: unknown;
    sizeBytes?: number;
  };
  headers: IncomingMessage['headers'];
}

/** A request that the test sends piece by piece. */
function open(
  method: string,
  path: string,
  headers: Record<string, string> = {},
): { request: ClientRequest; answer: Promise<Answered> } {
  const { hostname, port } = new URL(gateway.url);
  const request = httpRequest({
    hostname,
    port,
    method,
    path,
    agent: false,
    headers: { authorization: `Bearer ${ada.token}`, 'content-type': 'application/json', ...headers },
  });
  const answer = new Promise<Answered>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      resolve({
        status: response.statusCode ?? 0,
        body: text === '' ? {} : JSON.parse(text),
        headers: response.headers,
      });
    });
  });
  answer.catch(() => {});
  return { request, answer };
}

const pathOf = (id: string) => `/projects/${id}/snapshot`;

const as = ({ token }: Person) => ({ authorization: `Bearer ${token}` });

async function exchange(
  method: string,
  id: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Answered> {
  const { request, answer } = open(method, pathOf(id), headers);
  request.end(body);
  return answer;
}

/** Whether it would be somebody's turn. It takes none: more than is accepted is refused before anything is waited for. */
async function probe(id: string, headers: Record<string, string> = {}): Promise<Answered> {
  const { request, answer } = open('PUT', pathOf(id), { 'content-length': String(mostBytes + 1), ...headers });
  request.flushHeaders();
  const answered = await answer;
  request.destroy();
  return answered;
}

/** An upload is under way when others notice. */
async function untilBusy(id: string, headers: Record<string, string> = {}): Promise<Answered> {
  for (;;) {
    const answer = await probe(id, headers);
    if (answer.status === 503) return answer;
  }
}

async function untilFree(id: string, headers: Record<string, string> = {}): Promise<void> {
  while ((await probe(id, headers)).status === 503);
}

/** Files of about so many bytes, with characters of one to four bytes. */
function filesOf(bytes: number): Record<string, unknown> {
  const line = 'const grüße = "€ 😀 \\n\\u0000";\n';
  const text = line.repeat(2_000);
  const per = Buffer.byteLength(JSON.stringify(text)) + 20;
  return Object.fromEntries(
    Array.from({ length: Math.floor(bytes / per) }, (_, n) => [`src/file-${String(n).padStart(5, '0')}.ts`, text]),
  );
}

describe('as a document over HTTP', () => {
  test('a large one goes in and comes out as it was', async () => {
    const id = await project();
    const document = { files: filesOf(size(mostBytes) - 100_000), summary: 'large' };
    const text = JSON.stringify(document);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(mostBytes);
    const stored = await exchange('PUT', id, text);
    expect(stored).toMatchObject({ status: 200, body: { sizeBytes: expect.any(Number) } });
    const found = await exchange('GET', id);
    expect(found.status).toBe(200);
    expect(found.body).toMatchObject({
      summary: 'large',
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    });
    // Not by toEqual, which takes minutes to look through it.
    expect(JSON.stringify(found.body.files) === JSON.stringify(document.files)).toBe(true);
    // What was got can be put again as it is.
    expect((await exchange('PUT', id, JSON.stringify(found.body))).status).toBe(200);
  });

  test('the first byte over is refused, declared or not, and nothing changes', async () => {
    const id = await project();
    await exchange('PUT', id, '{"files":{"kept":1}}');
    const refused = {
      status: 413,
      body: { errors: [{ extensions: { code: 'PAYLOAD_TOO_LARGE', limit: mostBytes } }] },
    };
    const { request, answer } = open('PUT', pathOf(id), { 'transfer-encoding': 'chunked' });
    const million = Buffer.alloc(1_000_000, 0x20);
    request.write('{"files":{}');
    for (let n = 1; n < 50; n += 1) request.write(million);
    let answered = false;
    void answer.then(() => {
      answered = true;
    });
    // Up to the limit it listens.
    request.write(Buffer.alloc(1_000_000 - '{"files":{}'.length, 0x20));
    expect((await gateway.request('{ __typename }')).status).toBe(200);
    expect(answered).toBe(false);
    request.write('}');
    expect(await answer).toMatchObject(refused);
    request.destroy();
    const declared = open('PUT', pathOf(id), { 'content-length': String(mostBytes + 1) });
    declared.request.flushHeaders();
    expect(await declared.answer).toMatchObject(refused);
    declared.request.destroy();
    expect((await exchange('GET', id)).body.files).toEqual({ kept: 1 });
  });

  test('two are on their way at once, a third is asked to wait, and other requests are answered', async () => {
    const id = await project();
    const others = await Promise.all(['dan', 'eve'].map((handle) => makePerson(gateway, handle)));
    for (const person of others) await setMember(gateway, id, person, 'editor');
    const [dan, eve] = others as [Person, Person];
    const half = '{"files":{"a":';
    const busy = {
      status: 503,
      headers: { 'retry-after': '1' },
      body: { errors: [{ extensions: { code: 'LIMIT_EXCEEDED' } }] },
    };
    const begin = (person: Person) => {
      const exchanged = open('PUT', pathOf(id), { 'transfer-encoding': 'chunked', ...as(person) });
      exchanged.request.write(half);
      return exchanged;
    };
    const started = [begin(ada), begin(dan)];
    expect(await untilBusy(id, as(eve))).toMatchObject(busy);
    // Nor has anybody a second one.
    started[1]?.request.end('1}}');
    expect((await started[1]?.answer)?.status).toBe(200);
    expect(await exchange('GET', id, undefined, as(ada))).toMatchObject(busy);
    expect((await exchange('GET', id, undefined, as(eve))).status).toBe(200);
    expect((await read(id)).errors).toBeUndefined();
    started[0]?.request.end('1}}');
    expect((await started[0]?.answer)?.status).toBe(200);
    expect((await exchange('GET', id)).status).toBe(200);
  });

  test('a client that goes away, or falls silent, leaves nothing behind', async () => {
    const id = await project();
    for (let n = 0; n < 2; n += 1) {
      const silent = open('PUT', pathOf(id), { 'transfer-encoding': 'chunked' });
      silent.request.write('{"files":{');
      await untilBusy(id);
      await expect(silent.answer).rejects.toThrow();
      const gone = open('PUT', pathOf(id), { 'transfer-encoding': 'chunked' });
      gone.request.write('{"files":{');
      await untilBusy(id);
      gone.request.destroy();
      await untilFree(id);
    }
    expect((await exchange('PUT', id, '{"files":{"a":1}}')).status).toBe(200);
    expect((await exchange('GET', id)).body.files).toEqual({ a: 1 });
  });

  test.each<[string, string | Buffer, RegExp]>([
    ['no JSON', '{"files":', /is no JSON/],
    ['nothing', '', /is no JSON/],
    ['no UTF-8', Buffer.from([...Buffer.from('{"files":{"a":"'), 0xff, ...Buffer.from('"}}')]), /UTF8/],
    ['a NUL', '{"files":{"a":"\\u0000"}}', /u0000/i],
    ['half a character', '{"files":{"a":"\\ud83d"}}', /surrogate/i],
    ['no files', '{"summary":"x"}', /"files"/],
    ['files that are none', '{"files":5}', /Expected files as an object/],
    ['a list', '[1]', /Expected an object/],
    ['a summary that is none', '{"files":{},"summary":5}', /summary as text/],
    ['nesting beyond measure', `{"files":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, /stack depth/],
    ['nesting beyond what can be read', `{"files":${'['.repeat(501)}${']'.repeat(501)}}`, /500 levels/],
  ])('%s is refused with its reason', async (_name, body, message) => {
    const answer = await exchange('PUT', await project(), body);
    expect(answer.status).toBe(400);
    expect(answer.body.errors).toMatchObject([
      { extensions: { code: 'INVALID' }, message: expect.stringMatching(message) },
    ]);
  });

  test('what would be larger in the database than can be is refused as too large', async () => {
    const zeros = `{"files":[${'0,'.repeat(24_000_000)}0]}`;
    const answer = await exchange('PUT', await project(), zeros);
    expect(answer).toMatchObject({ status: 413, body: { errors: [{ extensions: { code: 'PAYLOAD_TOO_LARGE' } }] } });
  });

  test('who may not is told so before anything is read', async () => {
    const id = await project();
    const ben = await makePerson(gateway, 'ben');
    const narrow = await makePerson(gateway, 'narrow', ['REGISTRY_READ']);
    await setMember(gateway, id, ben, 'viewer');
    const stranger = await makePerson(gateway, 'stranger');
    const asked = async (method: string, token: string | null, path = pathOf(id), headers = {}) => {
      const { request, answer } = open(method, path, {
        'transfer-encoding': 'chunked',
        authorization: token === null ? '' : `Bearer ${token}`,
        ...headers,
      });
      request.flushHeaders();
      if (method === 'GET') request.end();
      const { status, body } = await answer;
      request.destroy();
      return [status, body.errors?.[0]?.extensions.code];
    };
    expect(await asked('PUT', null)).toEqual([401, 'UNAUTHENTICATED']);
    expect(await asked('PUT', 'tl_nonsense')).toEqual([401, 'UNAUTHENTICATED']);
    expect(await asked('PUT', narrow.token)).toEqual([403, 'FORBIDDEN']);
    expect(await asked('PUT', ben.token)).toEqual([403, 'FORBIDDEN']);
    expect(await asked('PUT', stranger.token)).toEqual([404, 'NOT_FOUND']);
    expect(await asked('GET', stranger.token)).toEqual([404, 'NOT_FOUND']);
    expect(await asked('GET', ben.token)).toEqual([404, 'NOT_FOUND']);
    expect(await asked('PUT', ada.token, '/projects/nonsense/snapshot')).toEqual([404, 'NOT_FOUND']);
    expect(await asked('DELETE', ada.token)).toEqual([405, 'INVALID']);
    expect(await asked('PUT', ada.token, pathOf(id), { 'content-type': 'text/plain' })).toEqual([415, 'INVALID']);
    expect(await asked('PUT', ada.token, pathOf(id), { 'content-encoding': 'gzip' })).toEqual([415, 'INVALID']);
    const types = ['application/json-patch+json', 'application/json; charset=latin1', ''];
    for (const type of types) {
      expect(await asked('PUT', ada.token, pathOf(id), { 'content-type': type })).toEqual([415, 'INVALID']);
    }
    await exchange('PUT', id, '{"files":{}}');
    expect(await asked('GET', ben.token)).toEqual([200, undefined]);
  });
});
