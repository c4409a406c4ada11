import { createHash } from 'node:crypto';
import pg from 'pg';

/**
 * Statements that come again are prepared: planning a page over partitioned tables takes longer than running it. Which
 * ones come again is found out, not configured, and bounded, because filters can be combined into any number of texts and
 * each prepared one is kept by every connection.
 */
export interface StatementNames {
  /** The name under which to prepare the text, or null to send it once. */
  nameOf(text: string): string | null;
}

const mostPrepared = 256;
const mostRemembered = 4_096;
const longestText = 100_000;

export function createStatementNames(): StatementNames {
  const seenOnce = new Set<string>();
  const names = new Map<string, string>();
  return {
    nameOf(text) {
      const known = names.get(text);
      if (known !== undefined) return known;
      if (names.size >= mostPrepared || text.length > longestText) return null;
      if (!seenOnce.delete(text)) {
        if (seenOnce.size >= mostRemembered) seenOnce.clear();
        seenOnce.add(text);
        return null;
      }
      // By content, so that a pooler in between, and whoever reads the server's list, meet the same name everywhere.
      const name = `tl_${createHash('sha256').update(text).digest('base64url').slice(0, 24)}`;
      names.set(text, name);
      return name;
    },
  };
}

/** A client of node-postgres that names what it is given as text with values. */
export function preparingClient(names: StatementNames): typeof pg.Client {
  return class extends pg.Client {
    // node-postgres has a dozen overloads of this; only the one that Kysely calls is changed.
    // biome-ignore lint/suspicious/noExplicitAny: the overloads of the parent cannot be repeated by a subclass
    override query(...args: any[]): any {
      const [text, values] = args;
      const name = typeof text === 'string' && Array.isArray(values) ? names.nameOf(text) : null;
      const forward = super.query as (...forwarded: unknown[]) => unknown;
      return name === null ? forward.apply(this, args) : forward.call(this, { name, text, values }, ...args.slice(2));
    }
  };
}
