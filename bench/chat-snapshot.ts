import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ownProjects } from './chats.ts';
import { type Contender, startGateway } from './contender.ts';
import { asLocal, type Databases, quickSize } from './databases.ts';
import { interleave, median, rounds } from './interleave.ts';

/** What a small query waits while a snapshot of nearly 50 MB goes in, or comes out, beside one with nothing else going on. */
interface Side {
  name: string;
  method: 'GET' | 'PUT' | null;
}

interface Round {
  p50Ms: number;
  p99Ms: number;
  mostMs: number;
  /** Megabytes that were carried in a second. */
  carried: number;
}

const snapshotBytes = 49_000_000;
const seconds = Number(process.env.BENCH_SECONDS ?? 5);
const pauseMs = 2;
const query = JSON.stringify({ query: '{ projects(first: 5) { nodes { name } } }' });

export async function chatSnapshot(databases: Databases): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const urls = await databases.open('chat_snapshot', quickSize);
  const gateway = await startGateway(urls);
  opened.defer(() => gateway.stop());
  const [projectId = ''] = await asLocal(urls, (client, id) => ownProjects(client, id, 1));
  const url = new URL(`/projects/${projectId}/snapshot`, gateway.url).href;
  await carryOnce(gateway, url);
  const sides: Side[] = [
    { name: 'nothing else', method: null },
    { name: 'while one comes in', method: 'PUT' },
    { name: 'while one goes out', method: 'GET' },
  ];
  const results = await interleave(sides, (side) => run(gateway, url, side));
  console.log(`A small query, ${rounds} rounds of ${seconds} s each, medians`);
  for (const [side, list] of results) {
    const of = (key: keyof Round) => median(list.map((round) => round[key]));
    const carried = side.method === null ? '' : `   ${of('carried').toFixed(0)} MB/s beside it`;
    console.log(
      `${side.name.padEnd(20)} p50 ${of('p50Ms').toFixed(2)} ms   p99 ${of('p99Ms').toFixed(1)} ms   most ${of('mostMs').toFixed(0)} ms${carried}`,
    );
  }
}

async function carryOnce(gateway: Contender, url: string): Promise<void> {
  const carrier = startCarrier(gateway, url, 'PUT');
  await carrier.first;
  await carrier.stop();
}

async function run(gateway: Contender, url: string, { method }: Side): Promise<Round> {
  const carrier = method === null ? null : startCarrier(gateway, url, method);
  // Until the first has arrived it is getting ready.
  await carrier?.first;
  const before = carrier?.bytes() ?? 0;
  const waits: number[] = [];
  const startedAt = performance.now();
  while (performance.now() - startedAt < seconds * 1_000) {
    const askedAt = performance.now();
    const response = await fetch(gateway.url, {
      method: 'POST',
      headers: { ...gateway.headers, 'content-type': 'application/json' },
      body: query,
    });
    await response.text();
    waits.push(performance.now() - askedAt);
    await sleep(pauseMs);
  }
  const carried = ((carrier?.bytes() ?? 0) - before) / 1e6 / ((performance.now() - startedAt) / 1_000);
  await carrier?.stop();
  waits.sort((one, other) => one - other);
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99), mostMs: at(1), carried };
}

function startCarrier(gateway: Contender, url: string, method: 'GET' | 'PUT') {
  const program = fileURLToPath(new URL('processes/carrier-program.ts', import.meta.url));
  const { authorization = '' } = gateway.headers;
  const child = spawn(process.execPath, [program, method, url, authorization, String(snapshotBytes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let bytes = 0;
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    bytes += Number(line);
  });
  const exited = once(child, 'exit');
  const failed = exited.then(() => Promise.reject(new Error('the carrier ended by itself')));
  failed.catch(() => {});
  return {
    first: Promise.race([once(lines, 'line'), failed]),
    bytes: () => bytes,
    stop: async () => {
      child.kill();
      await exited;
    },
  };
}
