import type { Expression, JsonataOptions } from 'jsonata';

/** What a realm is asked; as JSON, because a realm gets texts only. */
export interface Questions {
  /** JSON, each once however many jobs are about it. */
  events: readonly string[];
  jobs: readonly {
    event: number;
    /** Evaluated in order; if one fails, the job has failed. */
    expressions: readonly string[];
    /** Wanted is only whether the values are `true`. */
    truth: boolean;
  }[];
}

/** One job's answer: of each expression its value, in a list that is empty where it yields nothing; or what went wrong. */
export type Answer = { values: readonly (readonly unknown[])[] } | { failure: Failure };

/** What went wrong with an expression: JSONata's own code, such as S0202, or one of ours. */
export interface Failure {
  code: string;
  message: string;
  /** Which of the job's expressions, from 0. */
  expression: number;
  /** How many characters of the expression had been read; null where that says nothing. */
  position: number | null;
  token: string | null;
  value: string | null;
}

export interface RealmLimits {
  /** For each job. */
  mostMs: number;
  /** Whether others are evaluated in the same realm, now or later. */
  shared: boolean;
  /** How deep one evaluation may call itself; about five for each call of a function of the author's. */
  mostDeep: number;
  mostItems: number;
  /** Of a job's values, as JSON. */
  mostCharacters: number;
  mostNested: number;
  /** Of expressions that are kept compiled. */
  mostKept: number;
}

/*
 * The functions below run inside a realm, which gets them as text (realmProgram): nothing of ours may be within its reach. So
 * they use only what the language itself has, and one another by name.
 */

/**
 * A value's JSON, or `undefined` for nothing. Not by JSON.stringify: it calls what is named toJSON, makes of an infinite
 * number a null, and does not stop before the text of small things that hold one another many times fills the memory.
 */
function toJson(value: unknown, room: { characters: number; levels: number }): string | undefined {
  if (value === undefined) return undefined;
  room.characters -= typeof value === 'string' ? value.length + 2 : 2;
  if (room.characters < 0) throw { code: 'TOO_LONG' };
  if (typeof value === 'number' && !Number.isFinite(value)) throw { code: 'NO_NUMBER' };
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return JSON.stringify(value);
  const flags = value as { _jsonata_lambda?: unknown; _jsonata_function?: unknown };
  if (typeof value === 'function' || flags._jsonata_lambda === true || flags._jsonata_function === true)
    throw { code: 'FUNCTION' };
  if (room.levels === 0) throw { code: 'TOO_NESTED' };
  room.levels -= 1;
  const json = Array.isArray(value)
    ? `[${value.map((item) => toJson(item, room) ?? 'null').join()}]`
    : `{${membersOf(value, room).join()}}`;
  room.levels += 1;
  return json;
}

function membersOf(value: object, room: { characters: number; levels: number }): string[] {
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) throw { code: 'NO_JSON' };
  const members: string[] = [];
  for (const [key, item] of Object.entries(value)) {
    const json = toJson(item, room);
    if (json === undefined) continue;
    room.characters -= key.length + 4;
    members.push(`${JSON.stringify(key)}:${json}`);
  }
  return members;
}

/** JSONata throws objects that are no errors, the language its own; both with texts as long as what they are about. */
function failureOf(error: unknown, expression: number): Failure {
  const thrown = Object(error) as Record<string, unknown>;
  const short = (text: unknown) => {
    if (text === undefined || text === null || typeof text === 'object') return null;
    return String(text).slice(0, 500);
  };
  const native = thrown instanceof RangeError ? 'RANGE' : 'NATIVE';
  return {
    code: typeof thrown.code === 'string' ? thrown.code : native,
    message: short(thrown.message) ?? '',
    expression,
    position: typeof thrown.position === 'number' ? thrown.position : null,
    token: short(thrown.token),
    value: short(thrown.value),
  };
}

/** For $base64encode and $base64decode, which take them from a browser's window. */
function createBase64() {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const btoa = (text: string): string => {
    let encoded = '';
    for (let at = 0; at < text.length; at += 3) {
      const [first = 0, second = 0, third = 0] = [...text.slice(at, at + 3)].map((byte) => byte.charCodeAt(0));
      if (Math.max(first, second, third) > 255) throw { code: 'NO_BYTES' };
      const bits = (first << 16) | (second << 8) | third;
      const missing = Math.max(0, at + 3 - text.length);
      for (let shift = 18; shift >= 6 * missing; shift -= 6) encoded += digits.charAt((bits >> shift) & 63);
      encoded += '='.repeat(missing);
    }
    return encoded;
  };
  const atob = (text: string): string => {
    let decoded = '';
    let bits = 0;
    let count = 0;
    for (const character of text.replace(/[=\s]+$/, '')) {
      const digit = digits.indexOf(character);
      if (digit === -1) throw { code: 'NO_BASE64' };
      bits = ((bits << 6) | digit) & 0xfff;
      count += 6;
      if (count < 8) continue;
      count -= 8;
      decoded += String.fromCharCode((bits >> count) & 255);
    }
    return decoded;
  };
  return { btoa, atob };
}

/**
 * Whether an expression has a transform, `|…|…|`, or may make one while it runs. JSONata's changes what its pattern yields,
 * whatever that is: with `$sum` as the pattern, the function `$sum` for all who come after.
 */
function mayChangeJsonata(text: string, expression: Expression): boolean {
  if (!text.includes('|') && !text.includes('eval')) return false;
  const waiting: unknown[] = [expression.ast()];
  while (waiting.length > 0) {
    const node = waiting.pop();
    if (typeof node !== 'object' || node === null) continue;
    const { type, value } = node as { type?: unknown; value?: unknown };
    if (type === 'transform' || (type === 'variable' && value === 'eval')) return true;
    waiting.push(...Object.values(node));
  }
  return false;
}

/** @returns to be asked `Questions` as JSON, and answers so */
function createAnswering(jsonata: (text: string, options: JsonataOptions) => Expression, limits: RealmLimits) {
  const timedOut = 'D1012';
  const compiled = new Map<string, Expression>();
  let kept = 0;
  let leftMs = 0;
  const options = {
    get timeout() {
      return leftMs;
    },
    stack: limits.mostDeep,
    sequence: limits.mostItems,
  };

  function compile(text: string): Expression {
    const known = compiled.get(text);
    const expression = known ?? jsonata(text, options);
    if (!known && limits.shared && mayChangeJsonata(text, expression)) throw { code: 'UNSOCIABLE' };
    // Again, so that the first is always the one that was longest not used.
    if (compiled.delete(text)) kept -= text.length;
    compiled.set(text, expression);
    kept += text.length;
    for (const old of compiled.keys()) {
      if (kept <= limits.mostKept) break;
      compiled.delete(old);
      kept -= old.length;
    }
    return expression;
  }

  async function answer(job: Questions['jobs'][number], event: string): Promise<string> {
    const end = Date.now() + limits.mostMs;
    const room = { characters: limits.mostCharacters, levels: limits.mostNested };
    const values: string[] = [];
    try {
      for (const text of job.expressions) {
        leftMs = end - Date.now();
        if (leftMs <= 0) throw { code: timedOut };
        // Parsed for each: JSONata changes what it is given, also where it should not.
        const value = await compile(text).evaluate(JSON.parse(event));
        values.push(`[${toJson(job.truth ? value === true : value, room) ?? ''}]`);
      }
      return `{"values":[${values.join()}]}`;
    } catch (error) {
      const isLate = (error as { code?: unknown } | undefined)?.code === timedOut;
      return failed(isLate ? { code: 'LATE', value: limits.mostMs } : error, values.length);
    }
  }

  function failed(error: unknown, expression: number): string {
    return JSON.stringify({ failure: failureOf(error, expression) });
  }

  return async (questions: string): Promise<string> => {
    const { events, jobs } = JSON.parse(questions) as Questions;
    const answers: string[] = [];
    let characters = 0;
    for (const job of jobs) {
      // What comes of all is in the gateway's memory at once. Alone there is room for anybody.
      const crowded = characters > limits.mostCharacters;
      const json = crowded ? failed({ code: 'CROWDED' }, 0) : await answer(job, events[job.event] ?? 'null');
      characters += json.length;
      answers.push(json);
    }
    return `[${answers.join()}]`;
  };
}

/** @returns of each text what keeps it from being an expression, or null; as JSON */
function check(jsonata: (text: string) => Expression, texts: string): string {
  const failures = (JSON.parse(texts) as string[]).map((text, index) => {
    try {
      jsonata(text);
      return null;
    } catch (error) {
      return failureOf(error, index);
    }
  });
  return JSON.stringify(failures);
}

/** The functions above as declarations. */
export const realmProgram = [toJson, membersOf, failureOf, createBase64, mayChangeJsonata, createAnswering, check]
  .map(String)
  .join('\n');
