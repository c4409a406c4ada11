import type { ExecutionResult } from 'graphql';

/**
 * The result of one execution, sent to however many subscribers: serialised once, when the first of them needs it.
 *
 * Each transport serialises what it is given. Server-sent events ask `stringify` for the text. graphql-ws makes its frame
 * with JSON.stringify, which meets `toJSON` here and writes a placeholder; the socket puts the text in its place (see
 * `fillIn`), because JSON.stringify has no way to take a text as it is.
 */
export class SharedResult {
  readonly result: ExecutionResult;
  /** How far whoever has this has read. */
  readonly cursor: string;
  #text: string | null = null;

  constructor(result: ExecutionResult, cursor: string) {
    this.result = result;
    this.cursor = cursor;
  }

  get text(): string {
    this.#text ??= JSON.stringify(this.result);
    return this.#text;
  }

  /** For GraphQL Yoga, which calls it with the result itself. */
  readonly stringify = (): string => this.text;

  toJSON(): string {
    justWritten = this;
    return placeholder;
  }
}

/** Nothing that is sent can look like it: a client that guessed it would only spoil its own frame. */
const placeholder = 'treeline:shared-result';
const ending = `"payload":${JSON.stringify(placeholder)}}`;

/** Whose placeholder the last frame has; frames are made and sent in one go. */
let justWritten: SharedResult | null = null;

/** A frame as it is to be sent: with the shared text in the placeholder's place, where it has one. */
export function fillIn(frame: string): string {
  if (justWritten === null) return frame;
  const { text } = justWritten;
  justWritten = null;
  if (!frame.endsWith(ending)) return frame;
  return `${frame.slice(0, -ending.length)}"payload":${text}}`;
}
