import autocannon from 'autocannon';
import type { Contender } from './contender.ts';
import { interleave, median, ratio, rounds, seconds, spread } from './interleave.ts';

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

const connections = 16;

/** @param reference what the others are told as parts of; without it, the first is told as so many times each other */
export async function compare(loads: readonly Load[], reference?: Load): Promise<void> {
  for (const load of loads) await verify(load);
  print(await interleave(loads, run), reference);
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

function print(measured: ReadonlyMap<Load, readonly Round[]>, reference: Load | undefined): void {
  const rates = (load: Load | undefined) =>
    (load === undefined ? undefined : measured.get(load))?.map((round) => round.requestsPerSecond) ?? [];
  const [first] = measured.keys();
  const beside = (load: Load) => {
    if (load === (reference ?? first)) return '';
    if (reference === undefined) return `   ${first?.contender.name} is ${ratio(rates(first), rates(load))} times that`;
    return `   ${ratio(rates(load), rates(reference))} of ${reference.contender.name}`;
  };
  const width = Math.max(...[...measured.keys()].map(({ contender }) => contender.name.length));
  console.log(`${rounds} rounds of ${seconds} s each, ${connections} connections, medians (least to most)`);
  for (const [load, list] of measured) {
    console.log(
      `${load.contender.name.padEnd(width)} ${spread(rates(load))} requests/s` +
        `   ${median(list.map((round) => round.cpuMsPerRequest)).toFixed(2)} ms CPU each` +
        `   p50 ${median(list.map((round) => round.p50Ms))} ms   p99 ${median(list.map((round) => round.p99Ms))} ms` +
        beside(load),
    );
  }
}
