import autocannon from 'autocannon';
import type { Contender } from './contender.ts';

export interface Load {
  contender: Contender;
  /** Made anew for each request. */
  body: () => string;
  /** Fails the run when the answer is not the expected one: a fast error is not fast. */
  check: (answer: unknown) => void;
}

interface Round {
  requestsPerSecond: number;
  cpuMsPerRequest: number;
  p50Ms: number;
  p99Ms: number;
}

const seconds = Number(process.env.BENCH_SECONDS ?? 3);
const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
const connections = 16;

/**
 * Rounds by turns, A B C A B C …, so that a machine that slows down slows all of them; the order turns with each, so that
 * none always follows the same one. The first is thrown away: it warms caches and compilers.
 */
export async function compare(loads: readonly Load[]): Promise<void> {
  for (const load of loads) await verify(load);
  const measured = new Map<Load, Round[]>(loads.map((load) => [load, []]));
  for (let round = 0; round <= rounds; round += 1) {
    const order = [...loads.slice(round % loads.length), ...loads.slice(0, round % loads.length)];
    for (const load of order) {
      const result = await run(load);
      if (round > 0) measured.get(load)?.push(result);
    }
  }
  print(measured);
}

async function verify({ contender, body, check }: Load): Promise<void> {
  const response = await fetch(contender.url, { method: 'POST', headers: contender.headers, body: body() });
  const text = await response.text();
  try {
    check(JSON.parse(text));
  } catch (error) {
    throw new Error(`${contender.name} answered ${response.status}: ${text.slice(0, 500)}`, { cause: error });
  }
}

async function run({ contender, body }: Load): Promise<Round> {
  const cpuBefore = await contender.cpuSeconds();
  const result = await autocannon({
    url: contender.url,
    method: 'POST',
    headers: contender.headers,
    connections,
    duration: seconds,
    requests: [{ method: 'POST', setupRequest: (request: object) => ({ ...request, body: body() }) }],
  } as never);
  const cpu = (await contender.cpuSeconds()) - cpuBefore;
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${contender.name}: ${result.non2xx} refused, ${result.errors} failed`);
  return {
    requestsPerSecond: result.requests.total / result.duration,
    cpuMsPerRequest: (cpu * 1_000) / result.requests.total,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

function print(measured: ReadonlyMap<Load, readonly Round[]>): void {
  const figures = [...measured].map(([{ contender }, list]) => ({
    name: contender.name,
    rate: median(list.map((round) => round.requestsPerSecond)),
    spread: [
      Math.min(...list.map((round) => round.requestsPerSecond)),
      Math.max(...list.map((round) => round.requestsPerSecond)),
    ],
    cpu: median(list.map((round) => round.cpuMsPerRequest)),
    p50: median(list.map((round) => round.p50Ms)),
    p99: median(list.map((round) => round.p99Ms)),
  }));
  const ours = figures[0]?.rate ?? 0;
  console.log(`${rounds} rounds of ${seconds} s each, ${connections} connections, medians (least to most)`);
  for (const { name, rate, spread, cpu, p50, p99 } of figures) {
    console.log(
      `${name.padEnd(14)} ${rate.toFixed(0).padStart(6)} requests/s (${spread.map((value) => value.toFixed(0)).join(' to ')})` +
        `   ${cpu.toFixed(2)} ms CPU each   p50 ${p50} ms   p99 ${p99} ms` +
        (rate === ours ? '' : `   Treeline is ${(ours / rate).toFixed(2)} times that`),
    );
  }
}
