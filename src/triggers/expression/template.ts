import { count, describeFailure } from './failure.ts';
import { openRealm } from './realm.ts';

/**
 * Templates: JSON in which each string that begins with `=` is a JSONata expression over the event. A text that really begins
 * with `=` is written as an expression that yields it: `="=text"`.
 */

export interface TemplateExpression {
  /** Keys and indexes from the template's root. */
  path: readonly string[];
  /** Without the `=`. */
  text: string;
}

export interface TemplateProblem {
  path: string[];
  /** What was expected and what came. */
  message: string;
}

const mostNested = 50;
const mostExpressions = 1_000;
const mostCharacters = 10_000;
const mostCharactersTogether = 100_000;

/**
 * For all of a template's expressions, one of which takes a tenth of a millisecond; but JSONata has shapes of 10,000 characters that
 * take half a second. Requests have it done in a thread: see checks.ts.
 */
const mostReadingMs = 500;
const tooSlow = `Expected expressions that can be read in ${mostReadingMs} ms, got more complex ones; shorten their paths.`;

/** The expressions of a template, in the order in which `fillTemplate` wants their values, and what is wrong with its shape. */
export function readTemplate(template: unknown): { expressions: TemplateExpression[]; problems: TemplateProblem[] } {
  const expressions: TemplateExpression[] = [];
  const problems: TemplateProblem[] = [];
  const read = (value: unknown, path: readonly string[]): void => {
    if (isExpression(value)) expressions.push({ path, text: value.slice(1) });
    if (typeof value !== 'object' || value === null) return;
    if (path.length < mostNested) {
      for (const [key, inner] of Object.entries(value)) read(inner, [...path, key]);
    } else {
      problems.push({ path: [...path], message: `Expected at most ${mostNested} levels of nesting, got more.` });
    }
  };
  read(template, []);
  if (expressions.length > mostExpressions) {
    const came = count(expressions.length);
    problems.push({ path: [], message: `Expected at most ${count(mostExpressions)} expressions, got ${came}.` });
  }
  return { expressions, problems };
}

/**
 * A copy of the template with the values of its expressions in their places.
 * @param values one for each expression: in a list, which is empty where the expression yields nothing. What yields nothing is
 * left out of an object, and null elsewhere.
 */
export function fillTemplate(template: unknown, values: readonly (readonly unknown[])[]): unknown {
  let next = 0;
  const fill = (value: unknown): readonly unknown[] => {
    if (isExpression(value)) return values[next++] ?? [];
    if (Array.isArray(value)) return [value.map((inner) => fill(inner)[0] ?? null)];
    if (typeof value !== 'object' || value === null) return [value];
    const members = Object.entries(value).flatMap(([key, inner]) =>
      fill(inner).map((filled) => [key, filled] as const),
    );
    // Not by assigning, which a key of __proto__ would make something else.
    return [Object.fromEntries(members)];
  };
  return fill(template)[0] ?? null;
}

/** @returns what has to be mended before the template can be used; nothing if it can */
export function checkTemplate(template: unknown): TemplateProblem[] {
  const { expressions, problems } = readTemplate(template);
  if (problems.length > 0 || expressions.length === 0) return problems;
  const characters = expressions.reduce((sum, { text }) => sum + text.length, 0);
  if (characters > mostCharactersTogether) {
    const most = count(mostCharactersTogether);
    return [
      { path: [], message: `Expected expressions of at most ${most} characters together, got ${count(characters)}.` },
    ];
  }
  const messages = check(expressions.map(({ text }) => text));
  if (messages === null) return [{ path: [], message: tooSlow }];
  return expressions.flatMap(({ path }, index) => {
    const message = messages[index] ?? null;
    return message === null ? [] : [{ path: [...path], message }];
  });
}

/** @returns why the text is no expression, as a condition must be one; null if it is */
export function checkExpression(text: string): string | null {
  const messages = check([text]);
  return messages === null ? tooSlow : (messages[0] ?? null);
}

function isExpression(value: unknown): value is string {
  return typeof value === 'string' && value.startsWith('=');
}

/** @returns for each text what is wrong with it, or null; null for all if they take too long to read */
function check(texts: readonly string[]): (string | null)[] | null {
  const tooLong = texts.map(({ length }) =>
    length > mostCharacters
      ? `Expected an expression of at most ${count(mostCharacters)} characters, got ${count(length)}.`
      : null,
  );
  if (tooLong.some((message) => message !== null)) return tooLong;
  const failures = openRealm({ mostMs: mostReadingMs, shared: false }).check(texts, mostReadingMs);
  if (failures === null) return null;
  return failures.map((failure) =>
    failure === null ? null : `Expected a JSONata expression; ${describeFailure(failure)}.`,
  );
}
