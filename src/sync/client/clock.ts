/** Times of writes: the clock's, as the gateway stores them, but never twice the same. */
export interface Clock {
  /**
   * A time for a write that comes after all that it was written on top of. A clock that is behind others' would else have
   * its user's writes lose against what they replace.
   * @param seen the times of what it replaces
   */
  next(seen: readonly string[]): string;
  /** The last that it gave: what to go on from after a restart. */
  readonly last: string | null;
}

/**
 * The gateway refuses times that are a day ahead. One that is even farther ahead than that of this clock comes from a clock
 * that was wrong; to stay behind it would make every further write wrong as well.
 */
const mostAheadMicros = 86_400_000_000n;

/** @param now milliseconds since 1970, as `Date.now` */
export function createClock(now: () => number, last: string | null): Clock {
  return {
    get last() {
      return last;
    },
    next(seen) {
      const clock = BigInt(Math.floor(now() * 1_000));
      const floors = [...seen, ...(last === null ? [] : [last])].map(toMicros);
      const after = floors.filter((floor) => floor <= clock + mostAheadMicros).map((floor) => floor + 1n);
      last = fromMicros([clock, ...after].reduce((one, other) => (other > one ? other : one)));
      return last;
    },
  };
}

/** A time of the gateway, which leaves out zeros at the end, in the spelling that compares as text. */
export function canonicalTime(time: string): string {
  const [, upToSeconds, fraction = ''] = /^(.{19})(?:\.(\d{1,6}))?Z$/.exec(time) ?? [];
  if (upToSeconds === undefined) throw new Error(`expected a time in UTC, got ${time}`);
  return `${upToSeconds}.${fraction.padEnd(6, '0')}Z`;
}

function toMicros(time: string): bigint {
  return BigInt(Date.parse(`${time.slice(0, 23)}Z`)) * 1_000n + BigInt(time.slice(23, 26));
}

function fromMicros(micros: bigint): string {
  const toMillis = new Date(Number(micros / 1_000n)).toISOString().slice(0, -1);
  return `${toMillis}${String(micros % 1_000n).padStart(3, '0')}Z`;
}
