import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Contender, cpuSecondsOf } from '../contender.ts';

/** What each of the clients watches: a dashboard's row, as it changes. */
export const subscription = `subscription Watch {
  worktreeChanged {
    change
    worktreeId
    worktree { name status branchName gitState { uncommittedFilesCount aheadOfTrunk } project { slug } }
  }
}`;

/** What the program is told at its start. */
export interface ClientsOptions {
  port: number;
  authorization: string | undefined;
  count: number;
  query: string;
  /** Whether to note when each result arrives; it costs a little with each. */
  noteArrivals: boolean;
}

export type Question = 'arrivals' | 'sample';

/** What the program tells: how much has arrived, whenever that is more; and answers. */
export type News =
  | { kind: 'connected' }
  | { kind: 'count'; received: number; silent: number }
  | { kind: 'arrivals'; arrivals: [number: number, atMs: number][] }
  | { kind: 'sample'; text: string };

/** Clients of one server, all of them in one process of their own. */
export interface Clients {
  readonly count: number;
  /** Results that arrived so far, over all clients. */
  readonly received: number;
  /** Clients that nothing arrived at yet. */
  readonly silent: number;
  /** Resolves once so many have arrived. */
  arrived(received: number): Promise<void>;
  /** The number (`uncommittedFilesCount`) and the time (`monotonicMs`) of each result since the last call. */
  takeArrivals(): Promise<[number: number, atMs: number][]>;
  /** The text of the last frame. */
  sample(): Promise<string>;
  cpuSeconds(): Promise<number>;
  stop(): Promise<void>;
}

const patienceMs = 30_000;

/** One clock for all processes of the machine, unlike what `performance.now()` counts from. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}

export async function startClients(
  { url, headers }: Contender,
  { count, noteArrivals = false }: { count: number; noteArrivals?: boolean },
): Promise<Clients> {
  const options: ClientsOptions = {
    port: Number(new URL(url).port),
    authorization: headers.authorization,
    count,
    query: subscription,
    noteArrivals,
  };
  const child = fork(fileURLToPath(new URL('./clients-program.ts', import.meta.url)), [JSON.stringify(options)], {
    serialization: 'advanced',
  });
  let received = 0;
  let silent = count;
  let wake = () => {};
  child.on('message', (news: News) => {
    if (news.kind !== 'count') return;
    received = news.received;
    silent = news.silent;
    wake();
  });
  let gone = false;
  child.once('exit', () => {
    gone = true;
    wake();
  });

  async function hear<Kind extends News['kind']>(kind: Kind): Promise<Extract<News, { kind: Kind }>> {
    for (;;) {
      const [news] = (await once(child, 'message')) as [News];
      if (news.kind === kind) return news as Extract<News, { kind: Kind }>;
    }
  }

  function ask<Kind extends Question>(question: Kind): Promise<Extract<News, { kind: Kind }>> {
    const answer = hear(question);
    child.send(question);
    return answer;
  }

  await Promise.race([
    hear('connected'),
    once(child, 'exit').then(() => Promise.reject(new Error('the clients ended before they were connected'))),
  ]);
  return {
    count,
    get received() {
      return received;
    },
    get silent() {
      return silent;
    },
    async arrived(wanted) {
      const latest = performance.now() + patienceMs;
      while (received < wanted) {
        if (gone) throw new Error('the clients ended: a server refused them');
        if (performance.now() > latest) throw new Error(`expected ${wanted} results, got ${received}`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 1_000);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
    takeArrivals: async () => (await ask('arrivals')).arrivals,
    sample: async () => (await ask('sample')).text,
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    stop: async () => {
      if (gone) return;
      const exit = once(child, 'exit');
      child.disconnect();
      await exit;
    },
  };
}
