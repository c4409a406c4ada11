export const seconds = Number(process.env.BENCH_SECONDS ?? 3);
export const rounds = Number(process.env.BENCH_ROUNDS ?? 5);

/**
 * Rounds by turns, A B C A B C …, so that a machine that slows down slows all of them; the order turns with each, so that
 * none always follows the same one. The first is thrown away: it warms caches and compilers.
 */
export async function interleave<Side, Round>(
  sides: readonly Side[],
  measure: (side: Side) => Promise<Round>,
): Promise<Map<Side, Round[]>> {
  const measured = new Map<Side, Round[]>(sides.map((side) => [side, []]));
  for (let round = 0; round <= rounds; round += 1) {
    const order = [...sides.slice(round % sides.length), ...sides.slice(0, round % sides.length)];
    for (const side of order) {
      const result = await measure(side);
      if (round > 0) measured.get(side)?.push(result);
    }
  }
  return measured;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** The median and, behind it, the least and the most. */
export function spread(values: readonly number[], digits = 0): string {
  const format = (value: number) => value.toFixed(digits);
  return `${format(median(values)).padStart(6 + digits)} (${format(Math.min(...values))} to ${format(Math.max(...values))})`;
}

/** Of the rounds that were measured one after the other, because the machine was the same for both. */
export function ratio(ours: readonly number[], theirs: readonly number[]): string {
  return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN))).toFixed(2);
}

/** One round of requests that each began when another had been answered. */
export interface RequestRound {
  requestsPerSecond: number;
  cpuMsPerRequest: number;
  p50Ms: number;
  p99Ms: number;
}

/** @param durationsMs of each request */
export function roundOf(durationsMs: readonly number[], used: { cpuSeconds: number; seconds: number }): RequestRound {
  const sorted = Float64Array.from(durationsMs).sort();
  const at = (part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN;
  return {
    requestsPerSecond: sorted.length / used.seconds,
    cpuMsPerRequest: (used.cpuSeconds * 1_000) / sorted.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}
