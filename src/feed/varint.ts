/** Whole numbers of any size in as few bytes as they need: seven bits a byte, the eighth says that more follow. */
export interface VarintWriter {
  byte(value: number): void;
  number(value: bigint): void;
  bytes(): Buffer;
}

export interface VarintReader {
  byte(): number;
  number(): bigint;
  atEnd(): boolean;
}

export function createWriter(): VarintWriter {
  const bytes: number[] = [];
  return {
    byte: (value) => void bytes.push(value),
    number(value) {
      let rest = value;
      while (rest > 0x7fn) {
        bytes.push(Number(rest & 0x7fn) | 0x80);
        rest >>= 7n;
      }
      bytes.push(Number(rest));
    },
    bytes: () => Buffer.from(bytes),
  };
}

export function createReader(bytes: Uint8Array): VarintReader {
  let at = 0;
  const byte = () => {
    const value = bytes[at];
    if (value === undefined) throw new RangeError('the bytes end within a number');
    at += 1;
    return value;
  };
  return {
    byte,
    number() {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const next = byte();
        value |= BigInt(next & 0x7f) << shift;
        if (next < 0x80) return value;
      }
    },
    atEnd: () => at === bytes.length,
  };
}
