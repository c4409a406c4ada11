import { parentPort } from 'node:worker_threads';
import { checkExpression, checkTemplate } from './template.ts';

/** The thread in which templates and conditions are read: see checks.ts. */

/** A template, or a condition. */
export type Question = { template: unknown } | { condition: string };

export interface Answer {
  /** Of a condition at most one, at the top. */
  problems: { path: string[]; message: string }[];
}

parentPort?.on('message', (question: Question) => {
  const answer: Answer = { problems: problemsOf(question) };
  parentPort?.postMessage(answer);
});

function problemsOf(question: Question): Answer['problems'] {
  if ('template' in question) return checkTemplate(question.template);
  const message = checkExpression(question.condition);
  return message === null ? [] : [{ path: [], message }];
}
