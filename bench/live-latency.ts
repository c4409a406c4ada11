import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Contender, startGateway, startPeer } from './contender.ts';
import { activeWorktreeIds, type Databases, quickSize } from './databases.ts';
import { peerSender, reachAll } from './fan-out.ts';
import { mutationBody } from './git-state.ts';
import { interleave, median, rounds } from './interleave.ts';
import { type Clients, monotonicMs, startClients } from './processes/clients.ts';

/**
 * How long after a commit its 1,000 watchers have it. Events come at a fixed rate, whether or not the ones before have
 * arrived, so that a server that stalls does not slow down what would show it.
 */
interface Side {
  name: string;
  clients: Clients;
  /** Makes the event with this number; resolves when its writer knows that it is committed. */
  write: (number: number) => Promise<void>;
}

interface Round {
  /** From when the commit had returned to its writer; below zero where a client heard of it first. */
  afterCommit: Percentiles;
  /** From when the event was due, which includes writing it. */
  afterDue: Percentiles;
}

interface Percentiles {
  p50: number;
  p99: number;
  most: number;
}

const clientCount = 1_000;
const eventsPerSecond = 20;
const seconds = Number(process.env.BENCH_SECONDS ?? 10);
const writers = 4;

export async function liveLatency(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const urls = await databases.open('live', quickSize);
  const ids = await activeWorktreeIds(urls.ownerUrl);
  const pool = new pg.Pool({ connectionString: urls.ownerUrl, max: writers });
  opened.defer(() => pool.end());
  const idOf = (number: number) => ids[number % ids.length] ?? '';
  const inSql = async (number: number) => {
    await pool.query({
      name: 'report',
      text: 'select (registry.update_worktree_git_state($1, p_uncommitted_count => $2)).outcome',
      values: [idOf(number), number],
    });
  };

  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const clients = await openClients(gateway, opened, async () => inSql(nextNumber()));
  const bare = await startPeer('bare ws loop', 'peers/bare-fan-out.ts', '/graphql', urls);
  opened.defer(() => bare.stop());
  await fetch(new URL('/text', bare.url), { method: 'PUT', body: await clients.sample() });
  const bareClients = await openClients(bare, opened, peerSender(bare));
  print(
    await interleave(
      [
        { name: 'mutation', clients, write: (number) => mutate(gateway, idOf(number), number) },
        { name: 'plain SQL', clients, write: inSql },
        {
          name: 'bare ws loop',
          clients: bareClients,
          write: async (number) => void (await fetch(new URL(`/send?number=${number}`, bare.url), { method: 'POST' })),
        },
      ],
      run,
    ),
  );
}

async function openClients(contender: Contender, opened: AsyncDisposableStack, send: (count: number) => Promise<void>) {
  const clients = await startClients(contender, { count: clientCount, noteArrivals: true });
  opened.defer(() => clients.stop());
  await reachAll(clients, send);
  return clients;
}

async function mutate({ url, headers }: Contender, id: string, number: number): Promise<void> {
  const body = mutationBody({ id, count: number, ahead: 0, head: number.toString(16).padStart(40, '0') });
  const response = await fetch(url, { method: 'POST', headers, body });
  const text = await response.text();
  if (!text.includes('"changed":true')) throw new Error(`expected a change, got ${text.slice(0, 500)}`);
}

/** Tells events apart, also those of different rounds. */
let lastNumber = 0;
function nextNumber(): number {
  lastNumber += 1;
  return lastNumber;
}

async function run({ name, clients, write }: Side): Promise<Round> {
  const before = clients.received;
  await clients.takeArrivals();
  const dueAt = new Map<number, number>();
  const committedAt = new Map<number, number>();
  const underWay: Promise<void>[] = [];
  const startedAt = monotonicMs();
  for (let event = 0; event < seconds * eventsPerSecond; event += 1) {
    const due = startedAt + (event * 1_000) / eventsPerSecond;
    await sleep(Math.max(0, due - monotonicMs()));
    const number = nextNumber();
    dueAt.set(number, due);
    underWay.push(write(number).then(() => void committedAt.set(number, monotonicMs())));
  }
  await Promise.all(underWay);
  await clients.arrived(before + dueAt.size * clients.count);
  const arrivals = await clients.takeArrivals();
  if (arrivals.length !== dueAt.size * clients.count || arrivals.some(([number]) => !dueAt.has(number))) {
    throw new Error(`${name}: expected ${dueAt.size * clients.count} results of this round, got ${arrivals.length}`);
  }
  const since = (times: ReadonlyMap<number, number>) =>
    percentiles(arrivals.map(([number, atMs]) => atMs - (times.get(number) ?? Number.NaN)));
  return { afterCommit: since(committedAt), afterDue: since(dueAt) };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}

function print(measured: ReadonlyMap<Side, readonly Round[]>): void {
  console.log(
    `${rounds} rounds of ${seconds} s each, ${clientCount} clients, ${eventsPerSecond} events/s, all deliveries; ` +
      'medians of the rounds, and the most of all',
  );
  for (const [{ name }, list] of measured) {
    const figures = (kind: keyof Round) => {
      const of = (key: keyof Percentiles) => list.map((round) => round[kind][key]);
      return `p50 ${median(of('p50')).toFixed(1)} ms   p99 ${median(of('p99')).toFixed(1)} ms   most ${Math.max(...of('most')).toFixed(1)} ms`;
    };
    console.log(
      `${name.padEnd(12)} after the commit: ${figures('afterCommit')}   after it was due: ${figures('afterDue')}`,
    );
  }
}
