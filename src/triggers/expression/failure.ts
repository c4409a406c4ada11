import { realmLimits } from './realm.ts';
import type { Failure } from './realm-program.ts';

/** What was expected and what came, by code. JSONata's other codes have messages that say it. */
const texts: Readonly<Record<string, (failure: Failure) => string>> = {
  S0101: () => 'expected a closing quotation mark, got the end',
  S0102: ({ token }) => `expected a number that JSON can hold, got ${shown(token)}`,
  S0103: ({ token }) => `expected one of the escapes \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u, got \\${token}`,
  S0104: () => 'expected four hexadecimal digits after \\u',
  S0105: () => 'expected a closing backquote (`), got the end',
  S0106: () => 'expected */ after the comment, got the end',
  S0201: ({ token }) => `expected an operator or the end, got ${shown(token)}`,
  S0202: ({ value, token }) => `expected ${shown(value)}, got ${shown(token)}`,
  S0203: ({ value }) => `expected ${shown(value)}, got the end`,
  S0204: ({ token }) => `expected an operator, got ${shown(token)}`,
  S0205: ({ token }) => `expected something else than ${shown(token)}`,
  S0207: () => 'expected a value, got the end',
  S0208: ({ value }) => `expected parameters that begin with $, got ${shown(value)}`,
  S0211: ({ token }) => `expected a value, got ${shown(token)}`,
  S0212: () => 'expected a variable, such as $x, before :=',
  S0301: () => 'expected a regular expression between the slashes',
  S0302: () => 'expected a slash after the regular expression, got the end',
  D1011: () =>
    `expected at most ${count(realmLimits.mostDeep)} evaluations inside one another; look for an endless recursion`,
  D2014: tooManyItems,
  D2015: tooManyItems,
  D3137: ({ message }) => message,
  D3141: ({ message }) => message,
  LATE: ({ value }) => `expected an end within ${value} ms, got none`,
  ENDED: ({ value }) =>
    `expected at most ${value} MB of memory to be needed, got the end of the process that evaluates`,
  RANGE: ({ message }) =>
    message.includes('stack')
      ? 'expected less nesting, got more than can be worked on'
      : `expected smaller values, got more than can be worked on (${message})`,
  NO_BYTES: () => 'expected characters up to U+00FF, because each stands for a byte',
  NO_BASE64: () => 'expected a text in base64',
  TOO_LONG: () => `expected values of at most ${count(realmLimits.mostCharacters)} characters as JSON, got more`,
  TOO_NESTED: () => `expected a value that nests at most ${realmLimits.mostNested} levels deep, got a deeper one`,
  NO_NUMBER: () => 'expected a number that JSON can hold, got an infinite one or none',
  FUNCTION: () => 'expected a value, got a function; call it with ()',
  NO_JSON: () => 'expected a value that JSON can hold, got something else',
};

function tooManyItems(): string {
  return `expected lists of at most ${count(realmLimits.mostItems)} items, got a longer one`;
}

/** In words, with the place: `expected ")", got the end (at character 7)`. */
export function describeFailure(failure: Failure): string {
  const { code, message, position } = failure;
  const text = texts[code]?.(failure) ?? `${message.charAt(0).toLowerCase()}${message.slice(1)}`.replace(/\.\s*$/, '');
  return position === null || position === 0 ? text : `${text} (at character ${count(position)})`;
}

function shown(token: string | null): string {
  return token === null || token === '(end)' ? 'the end' : JSON.stringify(token);
}

export function count(number: number): string {
  return number.toLocaleString('en');
}
