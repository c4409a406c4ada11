import { nameOf, type PendingChange } from './change.ts';

/** Changes in the order in which they were made, each under its number. */
export interface Outbox {
  /** For the next change. */
  nextNumber(): number;
  get(number: number): PendingChange;
  all(): [number: number, change: PendingChange][];
  /** Of one record. */
  of(recordName: string): [number: number, change: PendingChange][];
  recordNames(): Iterable<string>;
  find(changeId: string): [number: number, change: PendingChange] | null;
  /** Under a number that is there: in its place, among the others where it was. */
  put(number: number, change: PendingChange): void;
  remove(number: number): void;
}

export function createOutbox(loaded: readonly (readonly [number, PendingChange])[]): Outbox {
  const changes = new Map<number, PendingChange>();
  const numbers = new Map<string, number>();
  const byRecord = new Map<string, Set<number>>();
  let last = 0;

  function get(number: number): PendingChange {
    const change = changes.get(number);
    if (change === undefined) throw new Error(`no change has the number ${number}`);
    return change;
  }

  function forget({ changeId, ...key }: PendingChange, number: number): void {
    const name = nameOf(key);
    const ofRecord = byRecord.get(name);
    ofRecord?.delete(number);
    if (ofRecord?.size === 0) byRecord.delete(name);
    numbers.delete(changeId);
  }

  function put(number: number, change: PendingChange): void {
    const old = changes.get(number);
    if (old !== undefined) forget(old, number);
    const name = nameOf(change);
    byRecord.set(name, (byRecord.get(name) ?? new Set()).add(number));
    numbers.set(change.changeId, number);
    changes.set(number, change);
    last = Math.max(last, number);
  }

  for (const [number, change] of [...loaded].sort(([one], [other]) => one - other)) put(number, change);

  return {
    nextNumber() {
      last += 1;
      return last;
    },
    get,
    all: () => [...changes],
    of: (name) =>
      [...(byRecord.get(name) ?? [])].sort((one, other) => one - other).map((number) => [number, get(number)]),
    recordNames: () => byRecord.keys(),
    find(changeId) {
      const number = numbers.get(changeId);
      return number === undefined ? null : [number, get(number)];
    },
    put,
    remove(number) {
      forget(get(number), number);
      changes.delete(number);
    },
  };
}
