import type { VarintReader, VarintWriter } from './varint.ts';

/**
 * Which transactions somebody has seen: all below `xmin`, none from `xmax` on, and of those between, all but `open`.
 * PostgreSQL's type pg_snapshot.
 */
export interface Snapshot {
  xmin: bigint;
  xmax: bigint;
  /** Ascending. */
  open: readonly bigint[];
}

/** @param text as PostgreSQL writes it: `xmin:xmax:xip,…` */
export function parseSnapshot(text: string): Snapshot {
  const [xmin, xmax, open] = text.split(':');
  if (xmin === undefined || xmax === undefined || open === undefined) throw new Error(`no snapshot: ${text}`);
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), open: open === '' ? [] : open.split(',').map(BigInt) };
}

/**
 * The same with one transaction more.
 * @param text as PostgreSQL writes it
 */
export function withTransaction(text: string, xid: bigint): string {
  const { xmin, xmax, open } = parseSnapshot(text);
  if (xid < xmax) return formatSnapshot({ xmin, xmax, open: open.filter((other) => other !== xid) });
  const between = Array.from({ length: Number(xid - xmax) }, (_, index) => xmax + BigInt(index));
  return formatSnapshot({ xmin, xmax: xid + 1n, open: [...open, ...between] });
}

/** As PostgreSQL reads it. */
export function formatSnapshot({ xmin, xmax, open }: Snapshot): string {
  return `${xmin}:${xmax}:${open.join(',')}`;
}

/** As differences: they are small where the numbers themselves are not. */
export function writeSnapshot(writer: VarintWriter, { xmin, xmax, open }: Snapshot): void {
  writer.number(xmin);
  writer.number(xmax - xmin);
  writer.number(BigInt(open.length));
  let before = xmin;
  for (const xid of open) {
    writer.number(xid - before);
    before = xid;
  }
}

export function readSnapshot(reader: VarintReader): Snapshot {
  const xmin = reader.number();
  const xmax = xmin + reader.number();
  const open: bigint[] = [];
  let before = xmin;
  for (let left = reader.number(); left > 0n; left -= 1n) {
    before += reader.number();
    open.push(before);
  }
  return { xmin, xmax, open };
}
