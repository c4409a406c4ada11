/**
 * How big a test is. `npm test` runs a tenth of the sizes that the promises name, so that it stays quick on two cores;
 * `npm run test:full` runs the real ones.
 */
export const full = process.env.TREELINE_TEST_SIZE === 'full';

/** @param real the size that the promise names; a tenth of it, at least 2, in the quick run */
export function size(real: number): number {
  return full ? real : Math.max(2, Math.round(real / 10));
}
