/** See follower.ts. With the gateway's own doorbell and reader; what is read goes to one who follows worktrees. */
import pg from 'pg';
import { createDoorbell } from '../../src/feed/doorbell.ts';
import { openFeed } from '../../src/feed/feed.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import type { Following } from './follower.ts';

const log = createLogger('warn');
const url = process.argv[2] ?? '';
/** Shorter than the doorbell rests: it rings as often as it may, as it does while commits come all the time. */
const ringMs = 5;

let events = 0;
let opened = new AsyncDisposableStack();

async function follow(following: Following): Promise<void> {
  opened = new AsyncDisposableStack();
  const ring = following === 'ring' ? ringAlone() : await read();
  if (following === 'read') return;
  const ringing = setInterval(ring, ringMs);
  opened.defer(async () => clearInterval(ringing));
}

function ringAlone(): () => void {
  const doorbell = createDoorbell({ url, log });
  opened.defer(() => doorbell.close());
  return () => doorbell.ring();
}

async function read(): Promise<() => void> {
  const pool = new pg.Pool({ connectionString: url, max: 2, options: '-c timezone=UTC' });
  opened.defer(() => pool.end());
  const feed = await openFeed({ url, pool: pool as never, ownerPool: pool as never, log });
  opened.defer(() => feed.close());
  const following = feed.follow({ topics: ['worktrees'], coalesce: true });
  void count(() => following.take());
  return () => feed.ring();
}

async function count(take: () => Promise<readonly unknown[] | null>): Promise<void> {
  for (let taken = await take(); taken !== null; taken = await take()) events += taken.length;
}

async function answer(message: Following | 'leave' | 'count'): Promise<void> {
  if (message === 'leave') await opened.disposeAsync();
  else if (message !== 'count') await follow(message);
  process.send?.(events);
}

process.on('message', (message) => void answer(message as Following));
