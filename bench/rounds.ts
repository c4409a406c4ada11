import autocannon from 'autocannon';
import type { Contender } from './contender.ts';
import { interleave, median, type RequestRound, ratio, roundOf, rounds, seconds, spread } from './interleave.ts';
import { runSql, type SqlLoad, verifySql } from './sql-load.ts';

/** What a server is asked over HTTP. */
export interface HttpLoad {
  contender: Contender;
  /** Made anew for each request. */
  body: () => string;
  /** Fails the run when the answer is not the expected one: a fast error is not fast. */
  check: (answer: unknown) => void;
  /** Text that is in every good answer, for servers that answer 200 to what they refuse. */
  expected?: string;
}

export type Load = HttpLoad | SqlLoad;

interface CompareOptions {
  /** What the others are told as parts of; without it, the first is told as so many times each other. */
  reference?: Load;
  connections?: number;
  /** What to count, where it is not requests, and how many of it there are in each. */
  unit?: { name: string; perRequest: number };
}

export async function compare(loads: readonly Load[], options: CompareOptions = {}): Promise<void> {
  const connections = options.connections ?? 16;
  for (const load of loads) await ('sql' in load ? verifySql(load) : verify(load));
  const run = (load: Load) => ('sql' in load ? runSql(load, connections) : runHttp(load, connections));
  print(await interleave(loads, run), { ...options, connections });
}

async function verify({ contender, body, check }: HttpLoad): Promise<void> {
  const response = await fetch(contender.url, { method: 'POST', headers: contender.headers, body: body() });
  const text = await response.text();
  try {
    check(JSON.parse(text));
  } catch (error) {
    throw new Error(`${contender.name} answered ${response.status}: ${text.slice(0, 500)}`, { cause: error });
  }
}

async function runHttp({ contender, body, expected = '' }: HttpLoad, connections: number): Promise<RequestRound> {
  const cpuBefore = await contender.cpuSeconds();
  const durationsMs: number[] = [];
  let refused = '';
  const running = autocannon({
    url: contender.url,
    method: 'POST',
    headers: contender.headers,
    connections,
    duration: seconds,
    requests: [{ method: 'POST', setupRequest: (request: object) => ({ ...request, body: body() }) }],
    verifyBody(text: string) {
      if (!text.includes(expected)) refused ||= text;
      return true;
    },
  } as never);
  // Its own histogram counts in whole milliseconds.
  running.on('response', (_client: unknown, _status: number, _bytes: number, durationMs: number) => {
    durationsMs.push(durationMs);
  });
  const result = await running;
  const cpu = (await contender.cpuSeconds()) - cpuBefore;
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${contender.name}: ${result.non2xx} refused, ${result.errors} failed`);
  if (refused !== '') throw new Error(`${contender.name} answered: ${refused.slice(0, 500)}`);
  return roundOf(durationsMs, { cpuSeconds: cpu, seconds: result.duration });
}

const nameOf = (load: Load) => ('sql' in load ? load.name : load.contender.name);

function print(
  measured: ReadonlyMap<Load, readonly RequestRound[]>,
  { reference, connections, unit = { name: 'requests', perRequest: 1 } }: CompareOptions,
): void {
  const rates = (load: Load | undefined) =>
    (load === undefined ? undefined : measured.get(load))?.map((round) => round.requestsPerSecond * unit.perRequest) ??
    [];
  const [first] = measured.keys();
  const beside = (load: Load) => {
    if (first === undefined || load === (reference ?? first)) return '';
    if (reference === undefined) return `   ${nameOf(first)} is ${ratio(rates(first), rates(load))} times that`;
    return `   ${ratio(rates(load), rates(reference))} of ${nameOf(reference)}`;
  };
  const width = Math.max(...[...measured.keys()].map((load) => nameOf(load).length));
  console.log(
    `${rounds} rounds of ${seconds} s each, ${connections} connection${connections === 1 ? '' : 's'}, medians (least to most)`,
  );
  for (const [load, list] of measured) {
    const medianMs = (key: 'p50Ms' | 'p99Ms') => median(list.map((round) => round[key])).toFixed(2);
    console.log(
      `${nameOf(load).padEnd(width)} ${spread(rates(load))} ${unit.name}/s` +
        `   ${median(list.map((round) => round.cpuMsPerRequest / unit.perRequest)).toPrecision(3)} ms CPU each` +
        `   p50 ${medianMs('p50Ms')} ms   p99 ${medianMs('p99Ms')} ms` +
        beside(load),
    );
  }
}
