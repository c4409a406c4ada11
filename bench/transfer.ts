import { interleave, median, ratio, rounds, seconds, spread } from './interleave.ts';

/** Something large that is carried as a whole, and again when it has been. */
export interface Transfer {
  name: string;
  /** Gets ready, which does not count, and answers what does: that carries it, and says how much it was. */
  prepare: () => Promise<() => Promise<number>>;
  /** Processor seconds used so far by whoever works for it, but for the database. */
  cpuSeconds: () => Promise<number>;
}

interface Round {
  perSecond: number;
  cpuMsEach: number;
}

/** Prints how much each carries, and of the first how many times that is. */
export async function compareTransfers(transfers: readonly Transfer[], unit: string): Promise<void> {
  const measured = await interleave(transfers, run);
  const rates = (transfer: Transfer | undefined) =>
    (transfer === undefined ? [] : (measured.get(transfer) ?? [])).map(({ perSecond }) => perSecond);
  const [first] = transfers;
  const width = Math.max(...transfers.map(({ name }) => name.length));
  console.log(`${rounds} rounds of ${seconds} s or more each, one at a time, medians (least to most)`);
  for (const transfer of transfers) {
    const cpuMs = median((measured.get(transfer) ?? []).map(({ cpuMsEach }) => cpuMsEach));
    const beside = transfer === first ? '' : `   ${first?.name} is ${ratio(rates(first), rates(transfer))} times that`;
    console.log(
      `${transfer.name.padEnd(width)} ${spread(rates(transfer))} ${unit}/s   ${cpuMs.toPrecision(3)} ms CPU each${beside}`,
    );
  }
}

async function run({ prepare, cpuSeconds }: Transfer): Promise<Round> {
  let carried = 0;
  let tookMs = 0;
  let cpuMs = 0;
  while (tookMs < seconds * 1_000) {
    const carry = await prepare();
    const cpuBefore = await cpuSeconds();
    const startedAt = performance.now();
    carried += await carry();
    tookMs += performance.now() - startedAt;
    cpuMs += ((await cpuSeconds()) - cpuBefore) * 1_000;
  }
  return { perSecond: carried / (tookMs / 1_000), cpuMsEach: cpuMs / carried };
}

/** Of this process. */
export async function ownCpuSeconds(): Promise<number> {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
