import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nameOf } from '../../../src/sync/client/change.ts';
import { canonicalTime } from '../../../src/sync/client/clock.ts';
import { dataOf, merge, type Op, type RecordState, stateOf, unwritten } from '../../../src/sync/client/merge.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { makePerson, type Person } from '../../support/people.ts';
import { size } from '../../support/size.ts';
import { rows } from '../../support/sql.ts';
import { listRecords, makeSpace, pullAll, type SyncRecord, setSpaceMember } from '../asking.ts';
import { type CrashPoint, type Device, openDevice, tables } from './device.ts';
import { type Fault, type Line, openLine } from './line.ts';

/** Five clients: three of hers, two of his, and a space of both. */
const space = 'both';
let gateway: TestGateway;
let people: [ada: Person, ben: Person];
let lines: Line[];
beforeAll(async () => {
  gateway = await startGateway();
  const [ada, ben] = [
    await makePerson(gateway, 'ada', ['REGISTRY_READ', 'SYNC']),
    await makePerson(gateway, 'ben', ['REGISTRY_READ', 'SYNC']),
  ];
  await makeSpace(gateway, ada, space);
  await setSpaceMember(gateway, ada, space, ben, 'EDITOR');
  people = [ada, ben];
  lines = await Promise.all(Array.from({ length: 5 }, () => openLine(gateway)));
});
afterAll(async () => {
  await Promise.all(lines.map((line) => line.close()));
  await gateway.close();
});

const personOf = (device: number) => people[device < 3 ? 0 : 1];

type Action =
  | { kind: 'write'; table: string; recordId: string; shared: boolean; op: Op; data: Record<string, number> }
  | { kind: 'push' | 'pull'; faults: Fault[]; crash: CrashPoint | null }
  | { kind: 'clock'; hours: number };

const faults = fc.array(fc.constantFrom<Fault>('none', 'request lost', 'answer lost', 'answered 503'), {
  maxLength: 4,
});
/** The first commit of a push is of what the gateway has already stored. */
const crash = fc.record({
  when: fc.constantFrom('before' as const, 'after' as const),
  commit: fc.integer({ min: 1, max: 3 }),
});
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      table: fc.constantFrom(...tables),
      recordId: fc.constantFrom('r1', 'r2'),
      shared: fc.boolean(),
      op: fc.constantFrom<Op>('insert', 'update', 'update', 'delete'),
      data: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(99), { maxKeys: 2 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('push' as const, 'pull' as const),
      faults,
      crash: fc.option(crash, { nil: null, freq: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('clock' as const), hours: fc.integer({ min: -12, max: 12 }) }),
  },
);
/** What several devices do at the same time. */
const step = fc.uniqueArray(fc.tuple(fc.nat(4), action), {
  selector: ([device]) => device,
  minLength: 1,
  maxLength: 3,
});

let runs = 0;

test('whatever five clients do, and whatever goes wrong meanwhile, all end with the records that the log makes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60, size: 'max' }), async (steps) => {
      runs += 1;
      const appId = `run-${runs}`;
      const devices = await Promise.all(lines.map((line, n) => openDevice(line, personOf(n).token, appId)));
      for (const together of steps) {
        await Promise.all(together.map(([n, what]) => perform(at(devices, n), what)));
      }
      for (const { line } of devices) line.fail();
      for (const { client } of devices) expect(await client.push()).toMatchObject({ refused: [] });
      for (const { client } of devices) await client.pull();
      await compare(devices, appId);
      await Promise.all(devices.map(({ client }) => client.close()));
    }),
    // As it is: to make a failing one smaller takes many runs, and its seed is told.
    { numRuns: size(100), endOnFailure: true },
  );
}, 300_000);

async function perform(device: Device, what: Action): Promise<void> {
  if (what.kind === 'clock') {
    device.clockOffsetMs = what.hours * 3_600_000;
  } else if (what.kind === 'write') {
    const { kind: _, shared, ...write } = what;
    const change = { ...write, spaceId: shared ? space : null };
    await device.act((client) => client.write(change));
    const seen = device.client.get(write.table, write.recordId, change.spaceId);
    // Whatever its clock says: what was written is what is seen.
    if (write.op === 'delete') expect(seen).toBeNull();
    else expect(seen).toMatchObject(write.data);
  } else {
    device.line.fail(...what.faults);
    await device.act((client) => client[what.kind](), what.crash ?? undefined);
    device.line.fail();
  }
}

async function compare(devices: readonly Device[], appId: string): Promise<void> {
  for (const person of people) {
    const records = await recordsOf(person, appId);
    expect(await recomputed(person, appId)).toEqual(records);
    const there = [...records].flatMap(([name, state]) => (dataOf(state) === null ? [] : [[name, dataOf(state)]]));
    for (const { client, stored } of devices.filter((_, n) => personOf(n) === person)) {
      expect(statesIn(await stored())).toEqual(records);
      expect(client.pending()).toEqual([]);
      const seen = tables.flatMap((table) => client.list(table).map(({ data, ...key }) => [nameOf(key), data]));
      expect(Object.fromEntries(seen)).toEqual(Object.fromEntries(there));
    }
  }
  expect(await rows(gateway.database.owner, 'select * from sync.check_records()')).toEqual([]);
}

async function recordsOf(person: Person, appId: string): Promise<Map<string, RecordState>> {
  const listed = await Promise.all(
    tables.map(async (table) => [table, await listRecords(gateway, person, { appId, table })] as const),
  );
  return sorted(
    listed.flatMap(([table, records]) => records.map((record) => [nameOf({ ...record, table }), toState(record)])),
  );
}

function toState({ data, fieldMeta, fieldPositions, write, deletion }: SyncRecord): RecordState {
  const moment = (sent: SyncRecord['write']) => sent && { at: canonicalTime(sent.at), position: sent.position };
  const fields = Object.entries(data).map(([name, value]) => [
    name,
    { value, at: fieldMeta[name], position: String(fieldPositions[name]) },
  ]);
  return { fields: Object.fromEntries(fields), written: moment(write), deleted: moment(deletion) };
}

/** As the log makes them, from its beginning. */
async function recomputed(person: Person, appId: string): Promise<Map<string, RecordState>> {
  const states = new Map<string, RecordState>();
  const { changes } = await pullAll(gateway, person, { appId });
  for (const { op, data, fieldMeta, createdAt, position, ...key } of changes) {
    const effect = {
      op: op.toLowerCase() as Op,
      data: data as never,
      fieldMeta,
      at: canonicalTime(createdAt),
      position,
    };
    states.set(nameOf(key), merge(states.get(nameOf(key)) ?? unwritten, stateOf(effect)));
  }
  return sorted([...states]);
}

function statesIn(stored: ReadonlyMap<string, unknown>): Map<string, RecordState> {
  const records = [...stored].filter(([key]) => key.startsWith('record '));
  return sorted(records.map(([key, state]) => [key.slice('record '.length), state as RecordState]));
}

function sorted(states: [string, RecordState][]): Map<string, RecordState> {
  return new Map(states.sort(([one], [other]) => (one < other ? -1 : 1)));
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new Error(`expected ${index + 1} of them`);
  return item;
}
