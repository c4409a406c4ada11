import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Context, constants, createContext, Script } from 'node:vm';
import { type Failure, type RealmLimits, realmProgram } from './realm-program.ts';

/**
 * A JavaScript realm of its own with JSONata in it and nothing else: no module, no process, no timer, no object of ours.
 * Only texts go in and come out.
 *
 * Not a library call, for three reasons. Some expressions change JSONata itself, for all who use it after: they need one of
 * their own. Promises that an expression leaves behind would go on beside the next one's: here they are done, or given up,
 * when `evaluate` returns. And no bound of JSONata's stops a regular expression: the realm's clock stops everything.
 */
export interface Realm {
  /**
   * @param questions `Questions`, as JSON
   * @returns a list of `Answer`, as JSON; null if that took too long, or waits for ever. Use the realm no more then.
   */
  evaluate(questions: string, mostMs: number): string | null;
  /** @returns for each text what keeps it from being an expression, or null; null for all if reading them took too long */
  check(texts: readonly string[], mostMs: number): readonly (Failure | null)[] | null;
}

export const realmLimits: Omit<RealmLimits, 'mostMs' | 'shared'> = {
  mostDeep: 1_000,
  mostItems: 100_000,
  mostCharacters: 1_000_000,
  mostNested: 200,
  mostKept: 200_000,
};

let scripts: readonly Script[] | null = null;
const evaluating = new Script('answers = null; answer(questions).then((text) => { answers = text; }); 0');
const checking = new Script('check(window.jsonata, texts)');

/** Read when first needed, and once: JSONata is some 300 kB. */
function programs(): readonly Script[] {
  const source = createRequire(import.meta.url).resolve('jsonata');
  scripts ??= [
    new Script(`${realmProgram}\nvar window = createBase64();`),
    new Script(readFileSync(source, 'utf8'), { filename: source }),
    new Script('var questions, answers, texts; var answer = createAnswering(window.jsonata, limits);'),
  ];
  return scripts;
}

export function openRealm(own: Pick<RealmLimits, 'mostMs' | 'shared'>): Realm {
  const global: Context = createContext(constants.DONT_CONTEXTIFY, {
    codeGeneration: { strings: false, wasm: false },
    microtaskMode: 'afterEvaluate',
  });
  const limits: RealmLimits = { ...realmLimits, ...own };
  new Script(`var limits = ${JSON.stringify(limits)};`).runInContext(global);
  for (const program of programs()) program.runInContext(global);

  return {
    evaluate(questions, mostMs) {
      global.questions = questions;
      if (run(evaluating, global, mostMs) === null) return null;
      return typeof global.answers === 'string' ? global.answers : null;
    },
    check(texts, mostMs) {
      global.texts = JSON.stringify(texts);
      const failures = run(checking, global, mostMs);
      return failures === null ? null : (JSON.parse(String(failures)) as (Failure | null)[]);
    },
  };
}

/** @returns null if it took too long */
function run(script: Script, global: Context, mostMs: number): unknown {
  try {
    return script.runInContext(global, { timeout: mostMs });
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return null;
    throw error;
  }
}
