import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startGateway } from '../support/gateway.ts';
import { type GatewayProcess, makeToken, spawnGateway } from '../support/gateway-process.ts';
import { makeProject } from '../support/people.ts';
import { size } from '../support/size.ts';
import { value } from '../support/sql.ts';
import { metric, untilMetric, watch } from '../support/watch.ts';
import { append, numbered } from './asking.ts';
import { follow, followDocument, take, type Update, upTo } from './following.ts';
import { ada, gateway, project } from './setting.ts';

describe('a subscriber that comes back', () => {
  test('with afterSequence gets what it missed, then what comes', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 250));
    const watching = await follow(gateway, ada, id, { afterSequence: 3 });
    expect(await take(watching, 246)).toEqual(upTo(4, 250));
    await append(gateway, ada.token, id, numbered('m', 250, 3));
    expect(await take(watching, 3)).toEqual([250, 251, 252]);
    await watching.close();
    const whole = await follow(gateway, ada, id, { afterSequence: -1 });
    expect(await take(whole, 253)).toEqual(upTo(0, 253));
    await whole.close();
    const none = await follow(gateway, ada, id);
    await append(gateway, ada.token, id, numbered('m', 253, 1));
    expect(await take(none, 1)).toEqual([253]);
    await none.close();
  });

  test('slowly, is told once of what is appended while it is still told what it missed', async () => {
    const id = await project();
    const large = (from: number, howMany: number) =>
      numbered('m', from, howMany).map((message) => ({ ...message, content: 'x'.repeat(1_000_000) }));
    // More than sockets and queues hold: while it does not read, it has not been told half of it.
    const missed = 40;
    for (let n = 0; n < missed; n += 4) await append(gateway, ada.token, id, large(n, 4));
    const watching = await follow(gateway, ada, id, { afterSequence: -1 });
    watching.socket.socket.pause();
    for (let n = 0; n < 5; n += 1) await append(gateway, ada.token, id, numbered('late', n, 1));
    watching.socket.socket.resume();
    expect(await take(watching, missed + 5)).toEqual(upTo(0, missed + 5));
    await append(gateway, ada.token, id, numbered('last', 0, 1));
    expect(await take(watching, 1)).toEqual([missed + 5]);
    await watching.close();
  });

  test('again and again, while many append, sees no gap and no double', async () => {
    const id = await project();
    const total = size(2_000);
    const sessions = 5;
    const writing = Promise.all(
      Array.from({ length: sessions }, async (_, session) => {
        for (let n = 0; n < total / sessions; n += 1)
          await append(gateway, ada.token, id, numbered(`s${session}`, n, 1));
      }),
    );
    const told: number[] = [];
    let cursor: string | undefined;
    for (let round = 0; told.length < total; round += 1) {
      const from = round % 2 === 0 || cursor === undefined ? { afterSequence: told.length - 1 } : { after: cursor };
      const watching = await follow(gateway, ada, id, from);
      const some = Math.min(total - told.length, 1 + Math.floor(Math.random() * (total / 10)));
      for (let n = 0; n < some; n += 1) {
        const update = await watching.next();
        told.push(update.message?.sequenceNum ?? -1);
        cursor = update.cursor;
      }
      if (round % 3 === 0) watching.socket.socket.terminate();
      await watching.close();
    }
    await writing;
    expect(told).toEqual(upTo(0, total));
  });

  test('goes on from any cursor that it got, also from the middle of what it missed', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 5));
    const first = await follow(gateway, ada, id, { afterSequence: -1 });
    await take(first, 2);
    const { cursor, message } = await first.next();
    expect(message?.sequenceNum).toBe(2);
    await first.close();
    const second = await follow(gateway, ada, id, { after: cursor });
    expect(await take(second, 2)).toEqual([3, 4]);
    await append(gateway, ada.token, id, numbered('m', 5, 1));
    const live = await second.next();
    expect(live.message?.sequenceNum).toBe(5);
    await second.close();
    await append(gateway, ada.token, id, numbered('m', 6, 2));
    const third = await follow(gateway, ada, id, { after: live.cursor });
    expect(await take(third, 2)).toEqual([6, 7]);
    await third.close();
  });

  test('goes on from a cursor of the log: of a query, or of its own append', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 2));
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    const appended = await append(gateway, ada.token, id, numbered('m', 2, 2));
    await append(gateway, ada.token, await project(), numbered('elsewhere', 0, 3));
    const own = await append(gateway, ada.token, id, numbered('m', 4, 2));
    for (const [after, expected] of [
      [cursor, [2, 3, 4, 5]],
      [appended.cursor, [2, 3, 4, 5]],
      [own.cursor, [4, 5]],
    ] as const) {
      const watching = await follow(gateway, ada, id, { after: after ?? '' });
      expect(await take(watching, expected.length)).toEqual(expected);
      await watching.close();
    }
    const nothingMissed = await follow(gateway, ada, id, {
      after: (await gateway.ask<{ cursor: string }>('{ cursor }')).cursor,
    });
    await append(gateway, ada.token, id, numbered('m', 6, 1));
    expect(await take(nothingMissed, 1)).toEqual([6]);
    await nothingMissed.close();
  });

  test('goes on from a message however long ago it came, though the log no longer holds it', async () => {
    const id = await project();
    const old = await gateway.ask<{ cursor: string }>('{ cursor }');
    await append(gateway, ada.token, id, numbered('m', 0, 1));
    const watching = await follow(gateway, ada, id, { afterSequence: -1 });
    const { cursor } = await watching.next();
    await watching.close();
    await append(gateway, ada.token, id, numbered('m', 1, 2));
    const { owner } = gateway.database;
    await owner.query('delete from feed.events');
    await owner.query(
      'update feed.state set dropped_xid = pg_current_xact_id(), dropped_snapshot = pg_current_snapshot()',
    );
    const lost = await follow(gateway, ada, id, { after: old.cursor });
    expect(await lost.failure()).toMatchObject({ extensions: { code: 'CURSOR_EXPIRED' } });
    await lost.close();
    const back = await follow(gateway, ada, id, { after: cursor });
    expect(await take(back, 2)).toEqual([1, 2]);
    await back.close();
  });

  test('with a cursor of another chat is not led astray by its number', async () => {
    const [one, other] = [await project(), await project()];
    await append(gateway, ada.token, one, numbered('m', 0, 9));
    await append(gateway, ada.token, other, numbered('m', 0, 2));
    const watching = await follow(gateway, ada, one, { afterSequence: 6 });
    await watching.next();
    const { cursor } = await watching.next();
    await watching.close();
    const elsewhere = await follow(gateway, ada, other, { after: cursor });
    await append(gateway, ada.token, other, numbered('m', 2, 1));
    expect(await take(elsewhere, 1)).toEqual([2]);
    await elsewhere.close();
    const log = await watch(gateway, 'subscription ($after: Cursor) { events(after: $after) { topic } }', {
      after: cursor,
    });
    await makeProject(gateway, 'after-a-chat', ada);
    expect(await log.next()).toEqual({ topic: 'projects' });
    await log.close();
  });

  test('with what the chat never said is told so', async () => {
    const id = await project();
    const failure = async (from: { afterSequence?: number; after?: string }) => {
      const watching = await follow(gateway, ada, id, from);
      const { extensions } = await watching.failure();
      await watching.close();
      return extensions.code;
    };
    expect(await failure({ afterSequence: 0 })).toBe('CURSOR_EXPIRED');
    expect(await failure({ afterSequence: -2 })).toBe('BAD_USER_INPUT');
    const { cursor } = await gateway.ask<{ cursor: string }>('{ cursor }');
    expect(await failure({ afterSequence: -1, after: cursor })).toBe('BAD_USER_INPUT');
    expect(await failure({ after: 'nonsense' })).toBe('BAD_CURSOR');
    await append(gateway, ada.token, id, numbered('m', 0, 1));
    expect(await failure({ afterSequence: 1 })).toBe('CURSOR_EXPIRED');
  });
});

describe('across gateways that are killed and started', () => {
  let database: TestDatabase;
  let gateways: GatewayProcess[];
  const token = makeToken();
  beforeAll(async () => {
    database = await createTestDatabase();
    const start = () => spawnGateway({ databaseUrl: database.ownerUrl, token });
    gateways = [await start(), await start()];
  });
  afterAll(async () => {
    await Promise.all(gateways.map((one) => one.stop()));
    await database.close();
  });

  test('a subscriber sees every message once, in order', async () => {
    const local = await value<string>(database.owner, `select id from auth.principals where handle = 'local'`);
    const id = await makeProject({ database }, 'across', { uuid: local });
    const total = size(500);
    const writing = (async () => {
      for (let n = 0; n < total; ) {
        const batch = numbered('m', n, 1 + (n % 3));
        // The one that is asked may be gone: whoever hears nothing sends the same again, elsewhere.
        const writer = gateways[n % gateways.length] as GatewayProcess;
        const done = await append(writer, token, id, batch).catch(() => null);
        if (done !== null) n += batch.length;
        else
          await append(gateways.at(-1) as GatewayProcess, token, id, batch).then(
            () => (n += batch.length),
            () => {},
          );
      }
    })();
    const told: number[] = [];
    let cursor: string | undefined;
    for (let round = 0; told.length < total; round += 1) {
      const from = round % 2 === 0 || cursor === undefined ? { afterSequence: told.length - 1 } : { after: cursor };
      const teller = gateways[0] as GatewayProcess;
      const watching = await follow(teller, { token }, id, from);
      for (let n = 0; n < total / 5 && told.length < total; n += 1) {
        const update = await watching.next();
        told.push(update.message?.sequenceNum ?? -1);
        cursor = update.cursor;
      }
      await teller.kill();
      await watching.close();
      gateways.shift();
      gateways.push(await spawnGateway({ databaseUrl: database.ownerUrl, token }));
    }
    await writing;
    expect(told.slice(0, total)).toEqual(upTo(0, total));
  });
});

describe('many who watch', () => {
  test('share one execution, wherever each began; other chats cost them nothing', async () => {
    const id = await project();
    await append(gateway, ada.token, id, numbered('m', 0, 5));
    const watching = await Promise.all([-1, 1, 3].map((afterSequence) => follow(gateway, ada, id, { afterSequence })));
    for (const [n, one] of watching.entries()) await take(one, [5, 3, 1][n] ?? 0);
    expect(await metric(gateway, 'treeline_subscription_groups')).toBe(1);
    const before = await metric(gateway, 'treeline_subscription_executions_total');
    await append(gateway, ada.token, await project(), numbered('elsewhere', 0, 3));
    await append(gateway, ada.token, id, numbered('m', 5, 1));
    for (const one of watching) expect(await take(one, 1)).toEqual([5]);
    expect(await metric(gateway, 'treeline_subscription_executions_total')).toBe(before + 1);
    await Promise.all(watching.map((one) => one.close()));
  });

  test('slowly and different things lose their streams before the gateway loses its memory', async () => {
    const dropped = 'treeline_streams_dropped_total\\{reason="resync"\\}';
    const small = await startGateway({
      database: gateway.database,
      environment: { TREELINE_STREAM_BYTES: '20000000', TREELINE_ADMIN_TOKEN: gateway.token },
    });
    const id = await project();
    const ask = (alias: string) => followDocument.replace('cursor', `${alias}: cursor`);
    const watching = await Promise.all(
      Array.from({ length: 6 }, (_, n) => watch<Update>(small, ask(`c${n}`), { id }, ada.token)),
    );
    for (const { socket } of watching) socket.socket.pause();
    for (let n = 0; n < 5; n += 1) {
      await append(small, ada.token, id, [{ messageId: `m${n}`, content: 'x'.repeat(3_000_000) }]);
    }
    await untilMetric(small, dropped, (count) => count > 0);
    await untilMetric(small, 'treeline_subscriber_queue_bytes', (bytes) => bytes <= 20_000_000);
    expect(await metric(small, 'treeline_subscribers')).toBeGreaterThan(0);
    for (const { socket } of watching) socket.socket.terminate();
    await untilMetric(small, 'treeline_subscriber_queue_bytes', (bytes) => bytes === 0);
    await small.close();
  });

  test('and one that reads large messages too slowly loses its stream, and goes on where it was', async () => {
    const id = await project();
    const large = (n: number) => [{ messageId: `m${n}`, content: 'x'.repeat(3_000_000) }];
    const watching = await follow(gateway, ada, id);
    watching.socket.socket.pause();
    for (let n = 0; n < 14; n += 1) await append(gateway, ada.token, id, large(n));
    watching.socket.socket.resume();
    let last: Update | null = null;
    let told = 0;
    for (let message = await watching.message(); message.type === 'next'; message = await watching.message()) {
      last = message.payload.data?.messageAppended ?? last;
      if (message.payload.errors !== undefined) break;
      told += 1;
    }
    expect(told).toBeLessThan(14);
    await watching.close();
    const back = await follow(gateway, ada, id, { after: last?.cursor ?? '' });
    expect(await take(back, 14 - told)).toEqual(upTo(told, 14));
    await back.close();
  });
});
