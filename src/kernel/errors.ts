/**
 * What can go wrong for a reason that somebody can mend. Everything else is a defect: masked, and logged once.
 *
 * Two families, because GraphQL answers them in two places:
 * - `Refusal`: a rule said no to the content of a mutation; becomes an item of the payload's `userErrors`.
 * - `RequestError`: the request itself is wrong (who asks, what it may cost, a cursor of another list); becomes a
 *   GraphQL error with `extensions.code`.
 */

export const refusalCodes = [
  'INVALID',
  'NOT_FOUND',
  'CONFLICT',
  'FORBIDDEN',
  'CLAIMED',
  'FENCED',
  'STALE_REPORT',
  'HEAD_MOVED',
  'CYCLE',
  'IN_USE',
  'BUILTIN',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_VERSION',
  'NOT_REPLAYABLE',
  'TIMED_OUT',
] as const;
export type RefusalCode = (typeof refusalCodes)[number];

export const requestErrorCodes = [
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'BAD_CURSOR',
  'CURSOR_EXPIRED',
  'RESYNC_REQUIRED',
  'LIMIT_EXCEEDED',
  'BAD_USER_INPUT',
  'INTERNAL',
] as const;
export type RequestErrorCode = (typeof requestErrorCodes)[number];

export interface RefusalOptions {
  /** Where in the mutation's input the mistake is, e.g. `['input', 'worktrees', '3', 'path']`. */
  path?: readonly string[];
  /** Facts for programs, e.g. the holder of a claim and its expiry. Never a secret. */
  details?: Readonly<Record<string, unknown>> | undefined;
  cause?: unknown;
}

/** A rule refused what the caller asked for; `message` says what was expected, what came and what to do. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: RefusalCode;
  readonly path: readonly string[];
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: RefusalCode, message: string, options: RefusalOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.path = options.path ?? [];
    this.details = options.details;
  }

  /** The same refusal, reported at another place of the input. */
  at(path: readonly string[]): Refusal {
    return new Refusal(this.code, this.message, { path, details: this.details, cause: this.cause });
  }
}

/** The request cannot be served as it was made; `code` is what programs branch on. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly code: RequestErrorCode;
  /** Facts for programs, sent beside the code: the cursor to go on from. */
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(
    code: RequestErrorCode,
    message: string,
    options: { cause?: unknown; facts?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options);
    this.code = code;
    this.facts = options.facts ?? {};
  }

  /** The same error with further facts. */
  with(facts: Readonly<Record<string, unknown>>): RequestError {
    return new RequestError(this.code, this.message, { cause: this.cause, facts: { ...this.facts, ...facts } });
  }
}

/** An operator's mistake found at start: printed as it is, without a stack, and the process ends with code 1. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
