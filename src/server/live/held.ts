import type { SharedResult } from './result.ts';

/** What waits for clients, over all of them: each result counts once, however many it waits for. */
export interface Held {
  add(result: SharedResult): void;
  drop(result: SharedResult): void;
  readonly bytes: number;
}

export function createHeld(): Held {
  const holders = new Map<SharedResult, number>();
  let bytes = 0;
  return {
    add(result) {
      const count = holders.get(result) ?? 0;
      if (count === 0) bytes += result.bytes;
      holders.set(result, count + 1);
    },
    drop(result) {
      const count = holders.get(result) ?? 0;
      if (count > 1) {
        holders.set(result, count - 1);
      } else if (holders.delete(result)) {
        bytes -= result.bytes;
      }
    },
    get bytes() {
      return bytes;
    },
  };
}
