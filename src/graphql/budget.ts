import pLimit, { type LimitFunction } from 'p-limit';
import type { RequestContext } from '../auth/context.ts';
import { RequestError } from '../kernel/errors.ts';

/**
 * What one operation may read and answer of values that can be large (messages, snapshots), in bytes: however many pages,
 * ids and aliases it asks by. The cost of an operation counts its fields; this counts what is in them.
 */
const mostLoadedBytes = 32_000_000;
const mostAnsweredBytes = 64_000_000;

interface Budget {
  loaded: number;
  answered: number;
  /** One statement after the other: each is told how much room the ones before it left. */
  turn: LimitFunction;
}

const budgets = new WeakMap<RequestContext, Budget>();

function budgetOf(context: RequestContext): Budget {
  const budget = budgets.get(context) ?? { loaded: 0, answered: 0, turn: pLimit(1) };
  budgets.set(context, budget);
  return budget;
}

export interface Heavy {
  bytes: number;
  /** False where there was no room for its large columns, which were left out. */
  fits?: boolean;
}

/** @param load is told how many bytes it may read; what does not fit into that comes without its large columns */
export function loadHeavy<Row extends Heavy>(
  context: RequestContext,
  load: (roomBytes: number) => Promise<Row[]>,
): Promise<Row[]> {
  const budget = budgetOf(context);
  return budget.turn(async () => {
    const rows = await load(Math.max(0, mostLoadedBytes - budget.loaded));
    for (const { bytes, fits } of rows) if (fits !== false) budget.loaded += bytes;
    return rows;
  });
}

/**
 * For each time that a large value is answered.
 * @throws RequestError LIMIT_EXCEEDED when it is too much, or was not read because of that
 */
export function answerHeavy(context: RequestContext, { bytes, fits }: Heavy): void {
  const budget = budgetOf(context);
  budget.answered += bytes;
  if (fits === false || budget.answered > mostAnsweredBytes) throw tooMuch();
}

const answeredParts = new WeakMap<Heavy, Set<string>>();

/**
 * For a lesser part of a large value, whose bytes count with the value itself: only asked for again, under another name, it
 * is more than was read.
 * @throws RequestError LIMIT_EXCEEDED when it is too much
 */
export function answerPart(context: RequestContext, value: Heavy, part: string): void {
  const answered = answeredParts.get(value) ?? new Set();
  answeredParts.set(value, answered);
  if (answered.has(part)) answerHeavy(context, value);
  answered.add(part);
}

export function tooMuch(): RequestError {
  return new RequestError(
    'LIMIT_EXCEEDED',
    `One operation reads at most ${mostLoadedBytes} bytes of messages, files and changes: ask for fewer at once.`,
  );
}
