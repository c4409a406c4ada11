import { describe, expect, test } from 'vitest';
import { createHub, type FeedEvent, mostQueuedEvents } from '../../src/feed/hub.ts';

const event = (id: string, op: FeedEvent['op'] = 'update'): FeedEvent => ({ op, id });

describe('the hub', () => {
  test('hands each event to everybody on its topic, in order, and to nobody else', async () => {
    const hub = createHub();
    const [one, two, other] = [hub.subscribe('a'), hub.subscribe('a'), hub.subscribe('b')];
    for (const id of ['1', '2', '3']) hub.publish('a', event(id));
    for (const subscription of [one, two]) {
      for (const id of ['1', '2', '3']) expect((await subscription.next()).value).toEqual(event(id));
    }
    hub.publish('b', event('x'));
    expect((await other.next()).value).toEqual(event('x'));
  });

  test('waiting events of one row become one, and what came is not forgotten', async () => {
    const hub = createHub();
    const subscription = hub.subscribe('a');
    hub.publish('a', event('1', 'insert'));
    hub.publish('a', event('2'));
    hub.publish('a', event('1', 'update'));
    expect((await subscription.next()).value).toEqual(event('1', 'insert'));
    expect((await subscription.next()).value).toEqual(event('2'));
  });

  test('a subscriber that does not read loses its own stream with RESYNC_REQUIRED, and memory stays bounded', async () => {
    const hub = createHub();
    const [slow, quick] = [hub.subscribe('a'), hub.subscribe('a')];
    for (let n = 0; n <= mostQueuedEvents; n += 1) {
      const next = quick.next();
      hub.publish('a', event(String(n)));
      expect((await next).value).toEqual(event(String(n)));
    }
    await expect(slow.next()).rejects.toMatchObject({ code: 'RESYNC_REQUIRED' });
    expect((await slow.next()).done).toBe(true);
    expect(hub.subscribers).toBe(1);
  });

  test('a subscriber that goes leaves nothing behind, also while it waits', async () => {
    const hub = createHub();
    const subscription = hub.subscribe('a');
    const waiting = subscription.next();
    await subscription.return();
    expect((await waiting).done).toBe(true);
    expect(hub.subscribers).toBe(0);
  });

  test('an interruption ends all streams with RESYNC_REQUIRED after what was queued', async () => {
    const hub = createHub();
    const [queued, waiting] = [hub.subscribe('a'), hub.subscribe('b')];
    hub.publish('a', event('1'));
    const next = waiting.next();
    hub.interrupt('gone');
    await expect(next).rejects.toMatchObject({ code: 'RESYNC_REQUIRED' });
    expect((await queued.next()).value).toEqual(event('1'));
    await expect(queued.next()).rejects.toMatchObject({ code: 'RESYNC_REQUIRED' });
  });
});
