import { createExpressions } from '../../../src/triggers/expression/expressions.ts';

/** A program that asks for its arguments' values, tells them line by line, and closes nothing. */
const expressions = createExpressions();
for (const template of process.argv.slice(2)) {
  const [evaluation] = await expressions.render([{ template, event: {} }]);
  console.log(JSON.stringify(evaluation));
}
