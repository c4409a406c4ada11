import pRetry from 'p-retry';
import { GatewayError } from '../../client/client.ts';
import { follow, type Notice } from '../../client/follow.ts';
import { graphql } from '../../client/generated/gql.ts';
import type { LocalState } from './local-state.ts';
import { mustBeginAnew, type Source, toTold } from './pull.ts';
import { mayPassBy } from './remote.ts';
import { applyChanges } from './replica.ts';

const changedDocument = graphql(`
  subscription SyncChanged($appId: String!, $tables: [String!], $excludeClientId: String, $after: Cursor!) {
    syncChanged(appId: $appId, tables: $tables, excludeClientId: $excludeClientId, after: $after) {
      changes {
        ...SentChange
      }
      cursor
    }
  }
`);

export interface FollowOptions {
  /** Ends it. */
  signal: AbortSignal;
  /** It broke off, and goes on by itself; `back` once it does. */
  onNotice?: (notice: Notice) => void;
}

/** What of the client it needs. */
export interface Following extends Source {
  local: LocalState;
  pull: () => Promise<void>;
  /** One after the other with all else that changes the base. */
  inTurn: <Result>(act: () => Promise<Result>) => Promise<Result>;
}

const firstDelayMs = 250;
const longestDelayMs = 15_000;

/**
 * Takes what others change as it comes, until it is ended. What was missed while it was interrupted, it pulls.
 * @throws GatewayError for what trying again does not mend
 */
export async function followChanges(following: Following, options: FollowOptions): Promise<void> {
  const { signal } = options;
  try {
    while (!signal.aborted) {
      await pRetry(() => followOnce(following, options), {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: firstDelayMs,
        maxTimeout: longestDelayMs,
        randomize: true,
        signal,
        // What it begins with is a pull over HTTP. It fails as well when the token is really no longer good.
        shouldRetry: ({ error }) => mayPassBy(error) || mustBeginAnew(error) || error instanceof StreamEnded,
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** The gateway has ended a stream whose token may still be good: a membership ended, and what rested on it. */
class StreamEnded extends Error {
  override readonly name = 'StreamEnded';
}

/** Resolves when what it told is to be gone on from anew, at once. */
async function followOnce(following: Following, { signal, onNotice }: FollowOptions): Promise<void> {
  const { local, remote, appId, pull, inTurn } = following;
  await pull();
  signal.throwIfAborted();
  const { generation, progress } = local;
  if (progress?.cursor == null) return;
  const updates = follow({
    endpoint: remote.endpoint,
    document: changedDocument,
    variables: { appId, tables: [...local.tables], excludeClientId: local.clientId },
    after: progress.cursor,
    cursorOf: ({ syncChanged }) => syncChanged.cursor,
    signal,
    onNotice: onNotice ?? (() => undefined),
  });
  let told = false;
  try {
    for await (const batch of updates) {
      const pages = batch.map(({ syncChanged }) => syncChanged);
      const applied = await inTurn(async () => {
        if (local.generation !== generation) return false;
        const changes = pages.flatMap((page) => page.changes).map(toTold);
        await applyChanges(local, changes, pages.at(-1)?.cursor ?? progress.cursor ?? '');
        return local.generation === generation;
      });
      if (!applied) return;
      told = true;
    }
  } catch (error) {
    if (told && (mustBeginAnew(error) || isSentAway(error))) return;
    throw isSentAway(error) ? new StreamEnded('The gateway ended the stream.', { cause: error }) : error;
  }
}

function isSentAway(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'UNAUTHENTICATED';
}
