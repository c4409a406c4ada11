import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import pLimit from 'p-limit';
import type { Answer, Question } from './checks-program.ts';
import type { TemplateProblem } from './template.ts';

/**
 * Reads what somebody wants to save, in a thread of its own: there are expressions that take half a second to read, and a
 * request may have many. A thread is enough, because nothing is evaluated: see evaluator.ts.
 */
export interface Checks {
  /** What has to be mended before a template can be used; nothing if it can. */
  template(template: unknown): Promise<TemplateProblem[]>;
  /** Why a text cannot be a condition; null if it can. */
  condition(text: string): Promise<string | null>;
  close(): Promise<void>;
}

export function createChecks(): Checks {
  let worker: Worker | null = null;
  const turn = pLimit(1);

  async function ask(question: Question): Promise<Answer> {
    worker ??= new Worker(new URL('./checks-program.ts', import.meta.url));
    const asked = worker;
    asked.ref();
    try {
      const answered = once(asked, 'message') as Promise<[Answer]>;
      asked.postMessage(question);
      const [answer] = await answered;
      return answer;
    } catch (error) {
      worker = null;
      throw error;
    } finally {
      // It keeps nobody from ending while it is not asked.
      asked.unref();
    }
  }

  return {
    template: async (template) => (await turn(() => ask({ template }))).problems,
    condition: async (condition) => (await turn(() => ask({ condition }))).problems[0]?.message ?? null,
    close: async () => {
      await worker?.terminate();
    },
  };
}
