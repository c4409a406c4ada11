import type { Pool } from 'pg';
import type { Logger } from '../kernel/logger.ts';
import { attach, listProblems } from './store.ts';

/**
 * Connects the two sides, when a gateway starts: a shared database's operator may have granted since what was missing. Without
 * it everything but the mirror works, so it is said and not refused.
 * @param options.mayChange false: only say what is missing
 */
export async function attachMirror(options: { ownerPool: Pool; log: Logger; mayChange: boolean }): Promise<void> {
  const { ownerPool, log, mayChange } = options;
  for (const { problem, statement } of await (mayChange ? attach : listProblems)(ownerPool)) {
    log.warn(
      { statement },
      `the mirror with mai.projects is off. ${problem} Let an operator run, then start again: ${statement}`,
    );
  }
}
