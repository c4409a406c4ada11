import { describe, expect, test } from 'vitest';
import type { FeedEvent, Op, Topic } from '../../src/feed/event.ts';
import { createHub } from '../../src/feed/hub.ts';
import { RequestError } from '../../src/kernel/errors.ts';

const event = (topic: Topic, id: string, op: Op = 'update', more: Partial<FeedEvent> = {}): FeedEvent => ({
  topic,
  op,
  entity_id: id,
  project_id: null,
  principal_id: null,
  agent_id: null,
  user_id: null,
  space_id: null,
  changed: [],
  data: {},
  depth: 0,
  at: '2026-01-01T00:00:00Z',
  place: { prev: '1:1:', within: null },
  page: 1,
  ...more,
});
const ids = (events: FeedEvent[] | null) => events?.map((given) => given.entity_id);

describe('hub', () => {
  test('hands each topic to those who follow it, in the order of the log', async () => {
    const hub = createHub();
    const both = hub.follow({ topics: ['worktrees', 'claims'], coalesce: false });
    const one = hub.follow({ topics: ['claims'], coalesce: false });
    hub.publish([event('worktrees', 'a'), event('claims', 'b'), event('worktrees', 'c'), event('hosts', 'd')]);
    expect(ids(await both.take())).toEqual(['a', 'b', 'c']);
    expect(ids(await one.take())).toEqual(['b']);
  });

  test('who follows a user and a space is handed what is of either, and once what is of both', async () => {
    const hub = createHub();
    const one = hub.follow({ topics: ['sync_changes'], of: ['user:u', 'space:s'], coalesce: false });
    const of = (id: string, user_id: string, space_id: string | null) =>
      event('sync_changes', id, 'insert', { user_id, space_id });
    hub.publish([of('a', 'u', null), of('b', 'v', null), of('c', 'v', 's'), of('d', 'u', 's'), of('e', 'u', 't')]);
    expect(ids(await one.take())).toEqual(['a', 'c', 'd', 'e']);
    hub.close();
  });

  test('who follows one project is handed what is of it, and nothing else', async () => {
    const hub = createHub();
    const one = hub.follow({ topics: ['messages', 'projects'], of: ['project:p'], coalesce: false });
    const all = hub.follow({ topics: ['messages'], coalesce: false });
    const of = (topic: Topic, id: string, projectId: string | null) =>
      event(topic, id, 'insert', { project_id: projectId });
    hub.publish([
      of('messages', 'a', 'p'),
      of('messages', 'b', 'q'),
      of('projects', 'c', 'p'),
      of('claims', 'd', 'p'),
      of('messages', 'e', null),
    ]);
    expect(ids(await one.take())).toEqual(['a', 'c']);
    expect(ids(await all.take())).toEqual(['a', 'b', 'e']);
    one.close();
    hub.publish([of('messages', 'f', 'p')]);
    expect(await one.take()).toBeNull();
  });

  test('who takes large rows takes as many as it can carry, and one at least', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['messages'], coalesce: false });
    const large = (id: string) => event('messages', id, 'insert', { data: { bytes: 60 } });
    hub.publish(['a', 'b', 'c', 'd'].map(large));
    expect(ids(await following.take(10, 100))).toEqual(['a', 'b']);
    expect(ids(await following.take(10, 1))).toEqual(['c']);
    expect(ids(await following.take(10))).toEqual(['d']);
  });

  test('where each event counts, none is merged', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['activities'], coalesce: false });
    hub.publish([event('activities', 'a', 'insert'), event('activities', 'a', 'insert')]);
    expect(await following.take()).toHaveLength(2);
  });

  test('states of one row coalesce to the newest, and move to the end so that cursors only go forward', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['worktrees'], coalesce: true });
    hub.publish([
      event('worktrees', 'a', 'insert', { data: { after: 1 } }),
      event('worktrees', 'b', 'update', { changed: ['name'], data: { before: 1, after: 2 } }),
      event('worktrees', 'a', 'update', { changed: ['path'], data: { before: 1, after: 2 } }),
    ]);
    hub.publish([event('worktrees', 'b', 'update', { changed: ['name', 'path'], data: { before: 2, after: 3 } })]);
    const events = await following.take();
    expect(ids(events)).toEqual(['a', 'b']);
    expect(events?.[0]).toMatchObject({ op: 'insert', changed: [] });
    expect(events?.[1]).toMatchObject({ op: 'update', changed: ['name', 'path'], data: { before: 1, after: 3 } });
  });

  test('one that does not keep up loses its stream with RESYNC_REQUIRED, and the others go on', async () => {
    const hub = createHub();
    const slow = hub.follow({ topics: ['activities'], coalesce: false, capacity: 3 });
    const quick = hub.follow({ topics: ['activities'], coalesce: false, capacity: 100 });
    hub.publish(['a', 'b', 'c', 'd'].map((id) => event('activities', id, 'insert')));
    await expect(slow.take()).rejects.toMatchObject({ code: 'RESYNC_REQUIRED' });
    expect(ids(await quick.take())).toEqual(['a', 'b', 'c', 'd']);
    expect(hub).toMatchObject({ overflows: 1, followers: 1 });
  });

  test('any number of changes of a few rows fits', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['worktrees'], coalesce: true, capacity: 3 });
    for (let n = 0; n < 1_000; n += 1) hub.publish([event('worktrees', String(n % 3))]);
    expect(await following.take()).toHaveLength(3);
  });

  test('closing ends a wait, and leaves nothing behind', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['worktrees'], coalesce: true });
    const waiting = following.take();
    following.close();
    expect(await waiting).toBeNull();
    expect(hub.followers).toBe(0);
    hub.publish([event('worktrees', 'a')]);
    expect(hub.depth).toBe(0);
  });

  test('an interruption reaches everybody', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['worktrees'], coalesce: true });
    const waiting = following.take();
    hub.interrupt(new RequestError('CURSOR_EXPIRED', 'gone'));
    await expect(waiting).rejects.toMatchObject({ code: 'CURSOR_EXPIRED' });
  });

  test('whoever reads a long log waits for those who follow, but not for ever', async () => {
    const hub = createHub();
    const following = hub.follow({ topics: ['worktrees'], coalesce: false, capacity: 4 });
    hub.publish(['a', 'b', 'c'].map((id) => event('worktrees', id)));
    let settled = false;
    const settling = hub.settled(60_000).then(() => {
      settled = true;
    });
    await Promise.resolve();
    expect(settled).toBe(false);
    await following.take();
    await settling;
    hub.publish(['a', 'b', 'c'].map((id) => event('worktrees', id)));
    await hub.settled(1);
  });
});
