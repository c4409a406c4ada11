import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cpuSecondsOf } from '../contender.ts';

/** What a gateway does beside those who write: it rings after commits, and reads the log for whoever watches. */
export type Following = 'ring' | 'read' | 'ring and read';

/** That part of a gateway, in a process of its own. */
export interface Follower {
  follow(following: Following): Promise<void>;
  leave(): Promise<void>;
  figures(): Promise<{ cpuSeconds: number; events: number }>;
  stop(): Promise<void>;
}

export async function startFollower(ownerUrl: string): Promise<Follower> {
  const child = fork(fileURLToPath(new URL('./follower-program.ts', import.meta.url)), [ownerUrl]);

  /** One at a time: the program answers each message with how many events it has read so far. */
  async function ask(message: Following | 'leave' | 'count'): Promise<number> {
    const answer = once(child, 'message');
    child.send(message);
    return Number((await answer)[0]);
  }

  return {
    follow: async (following) => void (await ask(following)),
    leave: async () => void (await ask('leave')),
    figures: async () => ({ events: await ask('count'), cpuSeconds: await cpuSecondsOf(child.pid ?? 0) }),
    stop: async () => {
      const exit = once(child, 'exit');
      child.disconnect();
      await exit;
    },
  };
}
