import type { ExecutionResult } from 'graphql';

/** The result of one execution, sent to however many subscribers: serialised once. */
export class SharedResult {
  /** How far whoever has this has read. */
  readonly cursor: string;
  readonly text: string;
  #tail: Buffer | null = null;

  /** @throws RangeError for what cannot be written: here, and not in the middle of a transport */
  constructor(result: ExecutionResult, cursor: string) {
    this.text = JSON.stringify(result);
    this.cursor = cursor;
  }

  /** About what it weighs while it waits. */
  get bytes(): number {
    return this.text.length;
  }

  /** The end of a graphql-ws frame, from its payload on. */
  get tail(): Buffer {
    this.#tail ??= Buffer.from(tailOf(this.text));
    return this.#tail;
  }
}

/**
 * What a subscriber hands to its transport: a result, and, for a transport that can take them, those that wait behind it.
 * It has no fields of its own, because graphql-ws copies those of every result that it sends.
 *
 * Each transport serialises what it is given. Server-sent events ask `stringify` for the text. graphql-ws makes its frame
 * with JSON.stringify, which meets `toJSON` here and writes a placeholder; the socket puts the text in its place (see
 * `framesOf`), because JSON.stringify has no way to take a text as it is.
 */
export class Handed {
  readonly #first: SharedResult;
  readonly #next: () => SharedResult | null;

  constructor(first: SharedResult, next: () => SharedResult | null) {
    this.#first = first;
    this.#next = next;
  }

  /** GraphQL Yoga calls it without `this`, with the result itself. */
  stringify(given: Handed): string {
    return given.#first.text;
  }

  toJSON(): string {
    justWritten = this;
    return placeholder;
  }

  /** The result and what waits behind it, as much as makes a write worth while. */
  take(): SharedResult[] {
    const taken = [this.#first];
    let length = this.#first.text.length;
    for (let next = length < mostPerWrite ? this.#next() : null; next !== null; ) {
      taken.push(next);
      length += next.text.length;
      next = length < mostPerWrite ? this.#next() : null;
    }
    return taken;
  }
}

/** A system call for each frame is most of what a delivery costs; beyond so many characters it is not any more. */
const mostPerWrite = 65_536;

/** Nothing that is sent can look like it: a client that guessed it would only spoil its own frame. */
const placeholder = 'treeline:shared-result';
const tailOf = (payload: string) => `"payload":${payload}}`;
const ending = tailOf(JSON.stringify(placeholder));

/** Whose placeholder the last frame has; frames are made and sent in one go. */
let justWritten: Handed | null = null;

/**
 * What is to be sent for a frame: with the shared text in the placeholder's place, where it has one, followed by the frames
 * of what waits behind it.
 */
export function framesOf(frame: string): string | Buffer[] {
  const handed = justWritten;
  justWritten = null;
  if (handed === null || !frame.endsWith(ending)) return frame;
  const head = frame.slice(0, -ending.length);
  const results = handed.take();
  const [first] = results;
  if (results.length === 1 && first !== undefined) return head + tailOf(first.text);
  const start = Buffer.from(head);
  return results.map((result) => Buffer.concat([start, result.tail]));
}
