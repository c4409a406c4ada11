/** As much of RFC 6455 as a client needs that counts: a library's would cost more than the servers that are measured. */
export const opcodes = { text: 0x1, close: 0x8, ping: 0x9, pong: 0xa } as const;

/** A frame of a client. It must be masked, and a mask of zeros leaves the text as it is. */
export function writeFrame(opcode: number, text: string): Buffer {
  const payload = Buffer.from(text);
  const { length } = payload;
  const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size, 0, 0, 0, 0]), payload]);
}

type OnFrame = (opcode: number, bytes: Buffer, start: number, end: number) => void;

/**
 * Takes chunks as they come and hands each whole frame on as a stretch of bytes, which is good during the call only.
 * Frames of 64 KB and more, and fragmented ones, do not occur here.
 */
export function createFrameReader(onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer | null = null;
  return (chunk) => {
    const bytes = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = readFrame(bytes, at, onFrame); end !== null; end = readFrame(bytes, at, onFrame)) at = end;
    // A copy: the chunk's memory is used again.
    rest = at === bytes.length ? null : Buffer.from(bytes.subarray(at));
  };
}

/** @returns where the frame that begins at `at` ends; null: it is not all there yet */
function readFrame(bytes: Buffer, at: number, onFrame: OnFrame): number | null {
  if (bytes.length - at < 2) return null;
  let start = at + 2;
  let size = bytes.readUInt8(at + 1);
  if (size === 127) throw new Error('expected frames below 64 KB');
  if (size === 126) {
    if (bytes.length - at < 4) return null;
    size = bytes.readUInt16BE(start);
    start += 2;
  }
  const end = start + size;
  if (bytes.length < end) return null;
  onFrame(bytes.readUInt8(at) & 0xf, bytes, start, end);
  return end;
}
