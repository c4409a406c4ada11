import { describe, expect, test } from 'vitest';
import { makePerson, type Person, setMember } from '../support/people.ts';
import { full, size } from '../support/size.ts';
import { refusalOf, rows, value } from '../support/sql.ts';
import { append, numbered, readAll, type Sent } from './asking.ts';
import { ada, gateway, project } from './setting.ts';

describe('sessions that append to one chat at once', () => {
  const sessions = size(50);
  const batches = full ? 12 : 6;

  test('retried at random, leave no hole and no double, and each keeps its own order', async () => {
    const id = await project();
    const people = await Promise.all(
      Array.from({ length: 5 }, async (_, n) => {
        const person = await makePerson(gateway, `writer-${n}`);
        await setMember(gateway, id, person, 'editor');
        return person;
      }),
    );
    let retries = 0;

    /** As a client that does not hear the answer: it goes away after some time, and sends the same again. */
    async function send(token: string, batch: readonly Sent[], lost: number): Promise<void> {
      for (let attempt = 0; attempt < lost; attempt += 1) {
        retries += 1;
        const signal = AbortSignal.timeout(1 + Math.floor(Math.random() * 40));
        await fetch(`${gateway.url}/graphql`, {
          method: 'POST',
          signal,
          headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
          body: JSON.stringify({
            query: 'mutation ($i: AppendMessagesInput!) { appendMessages(input: $i) { insertedCount } }',
            variables: { i: { project: { id }, messages: batch.map((message) => ({ role: 'USER', ...message })) } },
          }),
        })
          .then((response) => response.text())
          .catch(() => {});
      }
      const { messages, userErrors } = await append(gateway, token, id, batch);
      expect(userErrors).toEqual([]);
      expect(messages?.map(({ messageId }) => messageId)).toEqual(batch.map(({ messageId }) => messageId));
    }

    await Promise.all(
      Array.from({ length: sessions }, async (_, session) => {
        const { token } = people[session % people.length] as Person;
        let from = 0;
        for (let n = 0; n < batches; n += 1) {
          const batch = numbered(`session-${session}`, from, 1 + Math.floor(Math.random() * 5));
          from += batch.length;
          await send(token, batch, Math.floor(Math.random() * 4));
        }
      }),
    );

    const all = await readAll(gateway, ada.token, id);
    expect(retries).toBeGreaterThan(0);
    expect(all.map(({ sequenceNum }) => sequenceNum)).toEqual(all.map((_, n) => n));
    expect(new Set(all.map(({ messageId }) => messageId)).size).toBe(all.length);
    for (let session = 0; session < sessions; session += 1) {
      const own = all.map(({ messageId }) => messageId).filter((text) => text.startsWith(`session-${session}-`));
      expect(own).toEqual(own.map((_, n) => `session-${session}-${n}`));
    }
    const { next_sequence: next } = (
      await rows<{ next_sequence: number }>(
        gateway.database.owner,
        `select next_sequence from chat.project_counters where project_id = $1`,
        [id],
      )
    )[0] ?? { next_sequence: -1 };
    expect(next).toBe(all.length);
  });
});

test('a chat that is busy does not keep others from theirs', async () => {
  const [busy, other] = [await project(), await project()];
  const holder = await gateway.database.connect();
  await holder.query('begin');
  await holder.query(`select set_config('app.current_user_id', $1, true)`, [ada.uuid]);
  await holder.query('select chat.append_project_messages($1, $2)', [
    busy,
    JSON.stringify([{ message_id: 'held', role: 'user', content: 'x' }]),
  ]);
  let answered = 0;
  // More than the gateway has connections.
  const waiting = Array.from({ length: 25 }, async (_, n) => {
    const { messages } = await append(gateway, ada.token, busy, numbered('waiting', n, 1));
    answered += 1;
    return messages?.[0]?.sequenceNum ?? -1;
  });
  expect((await append(gateway, ada.token, other, numbered('m', 0, 1))).insertedCount).toBe(1);
  expect(await readAll(gateway, ada.token, busy)).toEqual([]);
  expect(answered).toBe(0);
  await holder.query('commit');
  await holder.end();
  expect((await Promise.all(waiting)).toSorted((a, b) => a - b)).toEqual(waiting.map((_, n) => n + 1));
});

describe('a batch', () => {
  test('that comes again inserts nothing and answers the same messages', async () => {
    const id = await project();
    const batch: Sent[] = [
      { messageId: 'a', content: 'hello' },
      { messageId: 'b', role: 'ASSISTANT', content: [{ type: 'text', text: 'hi' }], annotations: { model: 'm' } },
    ];
    const first = await append(gateway, ada.token, id, batch);
    expect(first).toMatchObject({ insertedCount: 2, userErrors: [] });
    const again = await append(gateway, ada.token, id, batch);
    expect(again).toMatchObject({ insertedCount: 0, userErrors: [], messages: first.messages });
    const longer = await append(gateway, ada.token, id, [...batch, { messageId: 'c', content: {} }]);
    expect(longer).toMatchObject({ insertedCount: 1, messages: [...(first.messages ?? []), { sequenceNum: 2 }] });
  });

  test('leaves what is stored under an id as it is, and says so when it says something else', async () => {
    const id = await project();
    await append(gateway, ada.token, id, [{ messageId: 'a', content: 'first' }]);
    const other = await append(gateway, ada.token, id, [
      { messageId: 'new', content: 'new' },
      { messageId: 'a', content: 'second' },
    ]);
    expect(other).toMatchObject({
      insertedCount: 1,
      messages: [
        { content: 'new', sequenceNum: 1 },
        { content: 'first', sequenceNum: 0 },
      ],
      userErrors: [{ code: 'CONFLICT', path: ['input', 'messages', '1', 'messageId'] }],
    });
    expect((await readAll(gateway, ada.token, id)).map(({ content }) => content)).toEqual(['first', 'new']);
  });

  test('that holds one message twice stores it once', async () => {
    const id = await project();
    const twice = { messageId: 'a', content: { n: 1 } };
    const { insertedCount, messages } = await append(gateway, ada.token, id, [
      twice,
      { messageId: 'b', content: '' },
      twice,
    ]);
    expect([insertedCount, messages?.map(({ sequenceNum }) => sequenceNum)]).toEqual([2, [0, 1, 0]]);
  });

  const good: Sent = { messageId: 'good', content: 'good' };
  const loneHalf = '\ud83d';
  test.each<[string, Sent[], string[], RegExp]>([
    ['no messages', [], ['input'], /at least one message/],
    ['no id', [good, { messageId: '', content: '' }], ['input', 'messages', '1', 'messageId'], /1 to 500 bytes/],
    ['too long an id', [{ messageId: 'é'.repeat(251), content: '' }], ['input', 'messages', '0', 'messageId'], /500/],
    [
      'content that is a number',
      [good, good, { messageId: 'x', content: 5 }],
      ['input', 'messages', '2', 'content'],
      /string/,
    ],
    [
      'content that is a truth value',
      [{ messageId: 'x', content: true }],
      ['input', 'messages', '0', 'content'],
      /string/,
    ],
    [
      'one id that says two things',
      [good, { messageId: 'x', content: 'y' }, { messageId: 'x', content: 'z' }],
      ['input', 'messages', '2', 'messageId'],
      /Message 2: another message of this batch/,
    ],
    [
      'a NUL',
      [good, { messageId: 'x', content: [{ type: 'text', text: 'a\0b' }] }],
      ['input', 'messages', '1', 'content'],
      /Message 1: content\.0\.text contains U\+0000/,
    ],
    [
      'a NUL in a key',
      [{ messageId: 'x', content: { 'a\0': 1 } }],
      ['input', 'messages', '0', 'content'],
      /a key that contains U\+0000/,
    ],
    [
      'a NUL in the id',
      [{ messageId: 'x\0', content: '' }],
      ['input', 'messages', '0', 'messageId'],
      /messageId contains U\+0000/,
    ],
    ['half a character', [{ messageId: 'x', content: loneHalf }], ['input', 'messages', '0', 'content'], /surrogate/],
    [
      'half a character in annotations',
      [{ messageId: 'x', content: '', annotations: [loneHalf] }],
      ['input', 'messages', '0', 'annotations'],
      /annotations\.0 contains half/,
    ],
    [
      'too much at once',
      [good, { messageId: 'x', content: 'x'.repeat(4_000_001) }],
      ['input', 'messages', '1', 'content'],
      /4,000,000 bytes/,
    ],
    [
      'what is small when it comes and large when it is read',
      [{ messageId: 'x', content: Array.from({ length: 20_000 }, () => 1e300) }],
      ['input', 'messages', '0', 'content'],
      /4,000,000 bytes/,
    ],
    ['too many', numbered('n', 0, 1_001), ['input'], /at most 1000/],
  ])('with %s changes nothing and names the message', async (_name, batch, path, message) => {
    const id = await project();
    const { insertedCount, userErrors } = await append(gateway, ada.token, id, batch);
    expect([insertedCount, userErrors.length]).toEqual([null, 1]);
    expect(userErrors[0]).toMatchObject({ path, message: expect.stringMatching(message) });
    expect(
      await value(gateway.database.owner, 'select count(*)::int from chat.project_counters where project_id = $1', [
        id,
      ]),
    ).toBe(0);
  });

  test('whose numbers no reader of JSON can hold is refused, and so is what nests too deep', async () => {
    const id = await project();
    const send = async (content: string) => {
      const response = await fetch(`${gateway.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${ada.token}` },
        body: `{"query":"mutation ($i: AppendMessagesInput!) { appendMessages(input: $i) { insertedCount userErrors { message path } } }",
          "variables":{"i":{"project":{"id":"${id}"},"messages":[{"messageId":"x","role":"USER","content":${content}}]}}}`,
      });
      return ((await response.json()) as { data: { appendMessages: { userErrors: { message: string }[] } } }).data
        .appendMessages;
    };
    expect((await send('[{"n":1e999}]')).userErrors[0]?.message).toMatch(/content\.0\.n is a number larger/);
    expect((await send(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).userErrors[0]?.message).toMatch(/500 levels/);
    expect((await send(`${'['.repeat(500)}${']'.repeat(500)}`)).userErrors).toEqual([]);
  });

  test('names what is wrong to psql users as well', async () => {
    const id = await project();
    const client = await gateway.database.connect();
    await client.query('select set_config($1, $2, false)', ['app.current_user_id', ada.uuid]);
    const put = (messages: unknown) =>
      client.query('select * from chat.append_project_messages($1, $2)', [id, JSON.stringify(messages)]);
    const message = { message_id: 'a', role: 'user', content: 'x' };
    expect(await refusalOf(put([message, { ...message, message_id: 'b', role: 'bot' }]))).toMatchObject({
      code: 'INVALID',
      details: { index: 1, field: 'role' },
    });
    expect(await refusalOf(put([{ ...message, created_at: 'soon' }]))).toMatchObject({
      details: { field: 'createdAt' },
    });
    expect(await refusalOf(put([{ ...message, created_at: 'infinity' }]))).toMatchObject({
      details: { field: 'createdAt' },
    });
    for (const missing of ['role', 'content', 'message_id']) {
      expect(await refusalOf(put([message, { ...message, message_id: 'b', [missing]: undefined }]))).toMatchObject({
        code: 'INVALID',
        details: { index: 1 },
      });
    }
    expect(await refusalOf(put(['text']))).toMatchObject({ code: 'INVALID', details: { index: 0 } });
    expect(await refusalOf(put({}))).toMatchObject({ code: 'INVALID' });
    await put([message]);
    await client.end();
  });
});
