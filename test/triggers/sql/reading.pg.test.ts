import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { refusalOf } from '../../support/sql.ts';
import { makeSpace } from '../../sync/sql/asking.ts';
import { type LogEntry, log, match, matched } from './matching.ts';
import {
  anything,
  ask,
  createTrigger,
  database,
  everyScope,
  member,
  owner,
  type Person,
  person,
  project,
  withScopes,
} from './setting.ts';

let heir: Person;
beforeAll(async () => {
  heir = await person();
});

const grant = (who: Person, ...scopes: string[]) =>
  owner.query('update auth.principals set scopes = $2 where id = $1', [who.id, scopes]);

/** The topics of which a trigger is told, of one event of each. */
async function toldOf(trigger: string, projectId: string, topics = ['worktrees', 'messages', 'snapshots']) {
  const positions = await log(...topics.map((topic): LogEntry => ({ topic, project_id: projectId })));
  await match();
  const found = await matched(trigger);
  return topics.filter((_, n) => found.includes(positions[n] ?? ''));
}

describe('what is said in a project', () => {
  const everything = ['worktrees', 'messages', 'snapshots'];

  test('sets off triggers of its owner and members, in whatever role', async () => {
    const eve = await person();
    const place = await project(eve);
    const trigger = await createTrigger(eve, place);
    expect(await toldOf(trigger, place)).toEqual(everything);
    await owner.query('update registry.projects set owner_id = $2 where id = $1', [place, heir.id]);
    expect(await toldOf(trigger, place)).toEqual(['worktrees']);
    for (const role of ['owner', 'editor', 'viewer'] as const) {
      await member(place, eve, role);
      expect(await toldOf(trigger, place)).toEqual(everything);
    }
    await member(place, eve, null);
    expect(await toldOf(trigger, place)).toEqual(['worktrees']);
  });

  test('sets off no trigger whose token had no scope chat, be it that of an administrator', async () => {
    const eve = await person(everyScope);
    const place = await project(eve);
    const admin = withScopes(eve, 'admin', 'sync');
    expect(await toldOf(await createTrigger(admin, place), place)).toEqual(['worktrees']);
    expect(await toldOf(await createTrigger(admin, null), place)).toEqual(['worktrees']);
    const never = { kind: 'kv', collection_glob: 'messages' };
    expect(await refusalOf(createTrigger(admin, place, never))).toMatchObject({
      code: 'FORBIDDEN',
      message: 'It would never match: to read messages needs the scope chat, which your token does not have.',
    });
  });

  test('sets off no trigger of an administrator who is no member', async () => {
    const admin = await person(everyScope);
    const trigger = await createTrigger(admin, null);
    const place = await project(heir);
    expect(await toldOf(trigger, place)).toEqual(['worktrees']);
    await owner.query('delete from triggers.triggers where id = $1', [trigger]);
  });
});

describe('a scope', () => {
  test('that is taken from the principal is taken from its triggers, and comes back with it', async () => {
    const eve = await person();
    const place = await project(eve);
    const trigger = await createTrigger(eve, place);
    await grant(eve, 'registry:read', 'triggers:admin');
    expect(await toldOf(trigger, place)).toEqual(['worktrees']);
    await grant(eve, 'chat');
    expect(await toldOf(trigger, place)).toEqual(['messages', 'snapshots']);
    await grant(eve);
    expect(await toldOf(trigger, place)).toEqual([]);
    await grant(eve, ...eve.scopes);
    expect(await toldOf(trigger, place)).toEqual(['worktrees', 'messages', 'snapshots']);
  });

  test('that the principal got later is not given to triggers of a token without it', async () => {
    const eve = await person();
    const place = await project(eve);
    const trigger = await createTrigger(withScopes(eve, 'triggers:admin', 'registry:read'), place);
    expect(await toldOf(trigger, place)).toEqual(['worktrees']);
    // Changed with a token that has it, it has it too.
    await ask(eve, `triggers.update_trigger($1, '{"retry_base_ms": 5}', null)`, [trigger]);
    expect(await toldOf(trigger, place)).toEqual(['worktrees', 'messages', 'snapshots']);
  });
});

describe('what offline clients changed', () => {
  const space = randomUUID();
  let eve: Person;
  let trigger: string;
  beforeAll(async () => {
    eve = await person(everyScope);
    await makeSpace(database, space, [[heir.id, 'owner']]);
    trigger = await createTrigger(eve, null, anything);
    // Letters are found by what their events name; an event of sync names an app.
    await createTrigger(eve, null, { kind: 'dead_letter' });
  });

  const pushed = (user: Person, more: Partial<LogEntry> = {}): LogEntry => ({
    topic: 'sync_changes',
    op: 'insert',
    entity_id: 'notes',
    user_id: user.id,
    data: { writes: [['note', 'insert']] },
    ...more,
  });
  async function told(...entries: LogEntry[]): Promise<number[]> {
    const positions = await log(...entries);
    await match();
    const found = await matched(trigger);
    return positions.flatMap((position, n) => (found.includes(position) ? [n] : []));
  }

  test('sets off triggers of its author, and not of others, though they be administrators', async () => {
    expect(await told(pushed(eve), pushed(heir), pushed(heir, { space_id: space }))).toEqual([0]);
  });

  test('in a space sets off triggers of its members, as long as they are', async () => {
    const shared = pushed(heir, { space_id: space });
    await owner.query(`insert into auth.space_members (space_id, principal_id, role) values ($1, $2, 'viewer')`, [
      space,
      eve.id,
    ]);
    expect(await told(shared, pushed(heir), pushed(heir, { space_id: 'another' }))).toEqual([0]);
    await owner.query('delete from auth.space_members where space_id = $1 and principal_id = $2', [space, eve.id]);
    expect(await told(shared)).toEqual([]);
  });

  test("sets off nothing without the scope sync, and never a project's trigger", async () => {
    await grant(eve, 'admin', 'chat');
    expect(await told(pushed(eve))).toEqual([]);
    await grant(eve, ...everyScope);
    expect(await told(pushed(eve))).toEqual([0]);
    const place = await project(eve);
    const sync = { kind: 'kv', collection_glob: 'sync:*' };
    expect(await refusalOf(createTrigger(eve, place, sync))).toMatchObject({ code: 'INVALID' });
    expect(await refusalOf(createTrigger(withScopes(eve, 'admin', 'chat'), null, sync))).toMatchObject({
      code: 'FORBIDDEN',
    });
  });
});

test('what is no collection of the registry sets off nothing, not even by *', async () => {
  const admin = await person(everyScope);
  const place = await project(admin);
  const trigger = await createTrigger(admin, null);
  const topics = ['hosts', 'worktree_types', 'executions', 'principals', 'tokens', 'project_members', 'space_members'];
  expect(await toldOf(trigger, place, [...topics, 'claims'])).toEqual(['claims']);
  await owner.query('delete from triggers.triggers where id = $1', [trigger]);
});
