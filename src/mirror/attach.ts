import type { Pool } from 'pg';
import type { Logger } from '../kernel/logger.ts';
import { attach } from './store.ts';

/**
 * Connects the two sides, when a gateway starts: a shared database's operator may have granted since what was missing. Without
 * it everything but the mirror works, so it is said and not refused.
 */
export async function attachMirror({ ownerPool, log }: { ownerPool: Pool; log: Logger }): Promise<void> {
  for (const { problem, statement } of await attach(ownerPool)) {
    log.warn(
      { statement },
      `the mirror with mai.projects is off. ${problem} Let an operator run, then start again: ${statement}`,
    );
  }
}
