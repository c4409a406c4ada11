import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Contender, startGateway, startPeer } from './contender.ts';
import { activeWorktreeIds, type Databases, type DatabaseUrls, quickSize } from './databases.ts';
import { interleave, median, ratio, rounds, seconds, spread } from './interleave.ts';
import { type Clients, startClients } from './processes/clients.ts';

/**
 * How many results a second a server brings to 1,000 clients that all watch the same. Events come as fast as they are
 * delivered: so many are under way, each of another worktree, because those of one that wait become one.
 */
interface Side {
  contender: Contender;
  clients: Clients;
  /** Makes so many events. */
  send: (count: number) => Promise<void>;
}

interface Round {
  deliveriesPerSecond: number;
  serverCpuMicros: number;
  clientCpuMicros: number;
}

const clientCount = 1_000;
const eventsAtOnce = 16;
const eventsUnderWay = 64;

export async function fanOut(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const urls = await databases.open('live', quickSize);
  const gateway = await openSide(await startGateway(urls), opened, await worktreeWriter(urls, opened));
  const text = await gateway.clients.sample();
  const sides = [gateway];
  for (const [name, script] of [
    ['bare ws loop', 'peers/bare-fan-out.ts'],
    ['graphql-ws, each by itself', 'peers/plain-fan-out.ts'],
  ] as const) {
    const peer = await startPeer(name, script, '/graphql', urls);
    await fetch(new URL('/text', peer.url), { method: 'PUT', body: text });
    sides.push(await openSide(peer, opened, peerSender(peer)));
  }
  console.log(`Frame: ${Buffer.byteLength(text)} bytes`);
  print(await interleave(sides, run));
}

async function openSide(contender: Contender, opened: AsyncDisposableStack, send: Side['send']): Promise<Side> {
  opened.defer(() => contender.stop());
  const clients = await startClients(contender, { count: clientCount });
  opened.defer(() => clients.stop());
  await reachAll(clients, send);
  return { contender, clients, send };
}

/** Nothing says when a subscription has begun, except that it brings something. */
export async function reachAll(clients: Clients, send: (count: number) => Promise<void>): Promise<void> {
  while (clients.silent > 0) {
    await send(1);
    // The others of the same event are on their way.
    await sleep(200);
  }
}

/** As somebody in psql: each event a change of its own, several in one transaction. */
async function worktreeWriter({ ownerUrl }: DatabaseUrls, opened: AsyncDisposableStack): Promise<Side['send']> {
  const ids = await activeWorktreeIds(ownerUrl);
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  opened.defer(() => client.end());
  let number = 0;
  return async (count) => {
    const some = Array.from({ length: count }, (_, index) => ids[(number + index) % ids.length]);
    number += count;
    await client.query({
      name: 'report',
      text: `select (registry.update_worktree_git_state(id, p_uncommitted_count => $2::int)).outcome from unnest($1::uuid[]) id`,
      // Never what is stored already: that would be no event.
      values: [some, 1_000 + (number % 1_000_000)],
    });
  };
}

export function peerSender({ url }: Contender): Side['send'] {
  return async (count) => {
    await fetch(new URL(`/send?count=${count}`, url), { method: 'POST' });
  };
}

async function run({ contender, clients, send }: Side): Promise<Round> {
  const before = clients.received;
  const cpuBefore = [await contender.cpuSeconds(), await clients.cpuSeconds()] as const;
  const startedAt = performance.now();
  const until = startedAt + seconds * 1_000;
  let sent = 0;
  while (performance.now() < until) {
    await send(eventsAtOnce);
    sent += eventsAtOnce;
    await clients.arrived(before + (sent + eventsAtOnce - eventsUnderWay) * clients.count);
  }
  const expected = sent * clients.count;
  await clients.arrived(before + expected);
  const tookMs = performance.now() - startedAt;
  if (clients.received - before !== expected) {
    throw new Error(`${contender.name}: expected ${expected} results, got ${clients.received - before}`);
  }
  return {
    deliveriesPerSecond: (expected * 1_000) / tookMs,
    serverCpuMicros: (((await contender.cpuSeconds()) - cpuBefore[0]) * 1e6) / expected,
    clientCpuMicros: (((await clients.cpuSeconds()) - cpuBefore[1]) * 1e6) / expected,
  };
}

function print(measured: ReadonlyMap<Side, readonly Round[]>): void {
  const rates = (list: readonly Round[]) => list.map((round) => round.deliveriesPerSecond);
  const [[first, ours] = [undefined, []]] = measured;
  console.log(`${rounds} rounds of ${seconds} s each, ${clientCount} clients, medians (least to most)`);
  for (const [side, list] of measured) {
    console.log(
      `${side.contender.name.padEnd(26)} ${spread(rates(list))} deliveries/s` +
        `   ${median(list.map((round) => round.serverCpuMicros)).toFixed(1)} µs CPU each` +
        ` (its clients: ${median(list.map((round) => round.clientCpuMicros)).toFixed(1)} µs)` +
        (side === first ? '' : `   ${first?.contender.name} is ${ratio(rates(ours), rates(list))} times that`),
    );
  }
}
