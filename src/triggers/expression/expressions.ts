import pLimit from 'p-limit';
import { answerJobs } from './company.ts';
import { createEvaluator, type Evaluator } from './evaluator.ts';
import { count, describeFailure } from './failure.ts';
import { realmLimits } from './realm.ts';
import type { Failure } from './realm-program.ts';
import { fillTemplate, readTemplate } from './template.ts';

export type Evaluation = { ok: true; value: unknown } | { ok: false; error: string };

/**
 * Evaluates what registrants wrote, without letting it hurt the gateway or one another: in a process of its own, each within
 * bounds of time, memory and size. What breaks a bound fails; nothing else does.
 */
export interface Expressions {
  /**
   * Renders templates over their events. A value is JSON of at most 1,000,000 characters; those of one call are held
   * together, so who renders many that may be large calls more often.
   * @throws when the process cannot be started, or was closed
   */
  render(jobs: readonly { template: unknown; event: unknown }[]): Promise<Evaluation[]>;
  /**
   * Whether each condition is exactly true of its event: a value is a boolean.
   * @throws as `render` does
   */
  test(jobs: readonly { condition: string; event: unknown }[]): Promise<Evaluation[]>;
  /** Ends the process. Who waits gets an error. */
  close(): Promise<void>;
}

/** @param options.mostMs how long one template or condition may take */
export function createExpressions({ mostMs = 250 }: { mostMs?: number } = {}): Expressions {
  const evaluator = createEvaluator(mostMs);
  // Who waits for a turn holds what its caller holds, and one company's questions. A long call lets others in between.
  const turn = pLimit(1);
  const ask: Evaluator['ask'] = (questions, alone) => turn(() => evaluator.ask(questions, alone));

  return {
    async render(jobs) {
      const read = jobs.map(({ template, event }) => ({ template, event, ...readTemplate(template) }));
      const needy = read.filter(({ expressions, problems }) => expressions.length > 0 && problems.length === 0);
      const asked = needy.map(({ expressions, event }) => ({
        expressions: expressions.map(({ text }) => text),
        truth: false,
        event,
      }));
      const answers = new Map((await answerJobs(ask, asked)).map((answer, index) => [needy[index], answer]));
      return read.map((job) => {
        const [problem] = job.problems;
        if (problem !== undefined) return { ok: false, error: `${placeOf(problem.path)}: ${problem.message}` };
        const answer = answers.get(job) ?? { values: [] };
        if ('values' in answer) return rendered(fillTemplate(job.template, answer.values));
        const path = job.expressions[answer.failure.expression]?.path ?? [];
        return failed(`The expression ${placeOf(path)}`, answer.failure);
      });
    },

    async test(jobs) {
      const asked = jobs.map(({ condition, event }) => ({ expressions: [condition], truth: true, event }));
      return (await answerJobs(ask, asked)).map((answer) =>
        'values' in answer
          ? { ok: true, value: answer.values[0]?.[0] === true }
          : failed('The condition', answer.failure),
      );
    },

    close: () => evaluator.close(),
  };
}

function rendered(value: unknown): Evaluation {
  const { length } = JSON.stringify(value);
  if (length <= realmLimits.mostCharacters) return { ok: true, value };
  const most = count(realmLimits.mostCharacters);
  return { ok: false, error: `Expected at most ${most} characters as JSON, got ${count(length)}.` };
}

function failed(subject: string, failure: Failure): Evaluation {
  return { ok: false, error: `${subject} failed: ${describeFailure(failure)}.` };
}

function placeOf(path: readonly string[]): string {
  return path.length === 0 ? 'at the top' : `at ${path.join('.')}`;
}
