import { GatewayError } from '../../../src/client/client.ts';
import { createSyncClient, type SyncClient } from '../../../src/sync/client/client.ts';
import { type Commit, memoryStorage, type SyncStorage } from '../../../src/sync/client/storage.ts';
import type { Line } from './line.ts';

export const tables = ['note', 'task'] as const;

/** A crash of the device: the client that it hits is never used again. */
class Crash extends Error {
  override readonly name = 'Crash';
}

/** Where a crash hits: `before` a commit or `after` it, of those that are to come the n-th. */
export interface CrashPoint {
  when: 'before' | 'after';
  commit: number;
}

/** Somebody's device: a client that can crash at any commit, and comes back with what was stored. */
export interface Device {
  readonly client: SyncClient;
  line: Line;
  clockOffsetMs: number;
  /** Acts, and comes back after a crash. Where the line fails, the client goes on. */
  act(act: (client: SyncClient) => Promise<unknown>, crash?: CrashPoint): Promise<void>;
  /** All that the client would have after a restart. */
  stored(): Promise<Map<string, unknown>>;
}

export async function openDevice(line: Line, token: string, appId: string): Promise<Device> {
  const disk = memoryStorage();
  let crash: CrashPoint | null = null;
  let start = 0;

  /** One start's way to the disk, which ends with it. */
  function mounted(): SyncStorage {
    start += 1;
    const mine = start;
    return {
      load: () => disk.load(),
      async commit(commit: Commit) {
        if (mine !== start) throw new Crash();
        if (crash !== null) crash.commit -= 1;
        const hit = crash?.commit === 0 ? crash.when : null;
        if (hit !== 'before') await disk.commit(commit);
        if (hit !== null) {
          start += 1;
          throw new Crash();
        }
      },
    };
  }

  const device = {
    line,
    clockOffsetMs: 0,
    client: await begin(),
    async act(act: (client: SyncClient) => Promise<unknown>, at?: CrashPoint) {
      crash = at === undefined ? null : { ...at };
      try {
        await act(device.client);
      } catch (error) {
        if (!(error instanceof GatewayError || error instanceof Crash)) throw error;
      }
      crash = null;
      if (at === undefined) return;
      // It crashes in any case, if only when it was done.
      await device.client.close();
      device.client = await begin();
    },
    stored: () => disk.load(),
  };

  function begin(): Promise<SyncClient> {
    return createSyncClient({
      url: line.url,
      token,
      appId,
      tables,
      storage: mounted(),
      now: () => Date.now() + device.clockOffsetMs,
      pageSize: 3,
      retry: { retries: 1, firstDelayMs: 1, longestDelayMs: 1 },
    });
  }
  return device;
}
