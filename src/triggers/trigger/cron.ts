import { Cron } from 'croner';
import type { CatchUp } from './model.ts';

/** What is due by the clock: in the clock of its time zone, summer time included, to the second. */
export interface CronPlan {
  /** The due times that get a run now, oldest first. */
  fire: Date[];
  /** How many due times got none of their own: counted up to 100, because there may be millions. */
  missed: number;
  /** Up to now if there was more to fire than at once; null if there will never be one again. */
  next: Date | null;
}

export interface CronState {
  expression: string;
  timezone: string;
  catchUp: CatchUp;
  /** When it is due next, as it was found out the last time; null: it never was, so nothing is due yet. */
  dueAt: Date | null;
  now: Date;
}

/** A due time that is older was missed: nobody was there. */
const onTimeMs = 60_000;
const mostAtOnce = 100;
const mostCounted = 100;
const mostCharacters = 200;

/** @returns what keeps the expression from being followed in the time zone; null if nothing does */
export function checkCron(
  expression: string,
  timezone: string,
): { field: 'expression' | 'timezone'; message: string } | null {
  if (!isTimezone(timezone)) {
    const message = `Expected the name of a time zone, such as Europe/Berlin or UTC, got ${quoted(timezone)}.`;
    return { field: 'timezone', message };
  }
  const problem = problemOf(expression);
  if (problem === null) return null;
  const expected =
    'minute, hour, day of month, month and day of week, such as 30 3 * * 1-5, and before them seconds or not';
  return { field: 'expression', message: `Expected ${expected}; ${problem}.` };
}

/**
 * What to fire now, and when to look again. A due time up to a minute old is on time and always fires. Of those that were
 * missed `skip` fires none, `once` the oldest for all of them unless one is on time, and `all` each, 100 at a time.
 * @throws Error if the expression or the time zone means nothing
 */
export function planCron({ expression, timezone, catchUp, dueAt, now }: CronState): CronPlan {
  const cron = parse(expression, timezone);
  if (dueAt === null || dueAt > now) return { fire: [], missed: 0, next: dueAt ?? cron.nextRun(now) };
  if (catchUp === 'all') {
    const due = timesOf(cron, { first: dueAt, last: now, most: mostAtOnce + 1 });
    return { fire: due.slice(0, mostAtOnce), missed: 0, next: due[mostAtOnce] ?? cron.nextRun(now) };
  }
  const lastMissed = new Date(now.getTime() - onTimeMs - 1);
  const missed = timesOf(cron, { first: dueAt, last: lastMissed, most: mostCounted });
  // Past all that were missed at one go: of a year's seconds there are 31 million.
  const first = dueAt > lastMissed ? dueAt : cron.nextRun(lastMissed);
  const onTime = timesOf(cron, { first, last: now, most: Number.POSITIVE_INFINITY });
  const forAll = catchUp === 'once' && onTime.length === 0 ? missed.slice(0, 1) : [];
  return { fire: [...forAll, ...onTime], missed: missed.length - forAll.length, next: cron.nextRun(now) };
}

function timesOf(cron: Cron, { first, last, most }: { first: Date | null; last: Date; most: number }): Date[] {
  const times: Date[] = [];
  for (let time = first; time !== null && time <= last && times.length < most; time = cron.nextRun(time)) {
    times.push(time);
  }
  return times;
}

function parse(expression: string, timezone: string): Cron {
  // Croner takes what has a colon in it for a date.
  if (expression.includes(':')) throw new Error(`a colon means nothing in ${quoted(expression)}`);
  return new Cron(expression, { timezone, mode: '5-or-6-parts' });
}

function problemOf(expression: string): string | null {
  if (expression.length > mostCharacters) return `got ${expression.length} characters, of at most ${mostCharacters}`;
  const fields = expression.trim().split(/\s+/).length;
  if (!expression.startsWith('@') && (fields < 5 || fields > 6)) return `got ${quoted(expression)}`;
  try {
    // From a fixed time on, so that the answer is the same every day.
    const exists = parse(expression, 'UTC').nextRun(new Date(0)) !== null;
    return exists ? null : `got ${quoted(expression)}, a date that there never is`;
  } catch (error) {
    return (error as Error).message.replace(/^Cron\w*: |\.$/g, '');
  }
}

function isTimezone(name: string): boolean {
  try {
    // An offset such as +01:00 is none: it knows no summer time.
    return /^[a-z]/i.test(name) && new Intl.DateTimeFormat('en', { timeZone: name }) !== null;
  } catch {
    return false;
  }
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, mostCharacters));
}
