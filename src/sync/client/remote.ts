import pRetry from 'p-retry';
import { type Client, createClient, GatewayError } from '../../client/client.ts';
import type { TypedDocumentString } from '../../client/generated/graphql.ts';

/** The gateway, asked again where that may help. */
export interface Remote {
  readonly endpoint: Client['endpoint'];
  /** @throws GatewayError for what asking again does not mend, or did not */
  ask<Data, Variables>(document: TypedDocumentString<Data, Variables>, variables: Variables): Promise<Data>;
}

/** How often, and how long to wait between: twice as long each time. */
export interface RetryOptions {
  retries: number;
  firstDelayMs: number;
  longestDelayMs: number;
  /** Without an answer for so long, a request counts as lost. */
  timeoutMs: number;
}

export const usualRetry: RetryOptions = { retries: 8, firstDelayMs: 250, longestDelayMs: 15_000, timeoutMs: 120_000 };

/** With null the gateway was not reached, or something between it and here has answered. */
const passing: readonly (string | null)[] = [null, 'LIMIT_EXCEEDED', 'RESYNC_REQUIRED', 'INTERNAL'];

export function mayPassBy(error: unknown): boolean {
  return error instanceof GatewayError && passing.includes(error.code);
}

/** @param signal ends what is asked, and what waits to be asked again */
export function createRemote(
  endpoint: { url: string; token: string | null },
  { retries, firstDelayMs, longestDelayMs, timeoutMs }: RetryOptions,
  signal: AbortSignal,
): Remote {
  const client = createClient(endpoint);
  return {
    endpoint: client.endpoint,
    ask: (document, variables) =>
      pRetry(() => within(timeoutMs, signal, client.request(document, ...([variables] as never))), {
        retries,
        minTimeout: firstDelayMs,
        maxTimeout: longestDelayMs,
        randomize: true,
        signal,
        shouldRetry: ({ error }) => mayPassBy(error),
      }),
  };
}

/** What is asked may still be done: whoever gives up on it must be able to ask again. */
async function within<Data>(timeoutMs: number, signal: AbortSignal, answer: Promise<Data>): Promise<Data> {
  signal.throwIfAborted();
  let end = () => {};
  const over = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new GatewayError(`No answer came within ${timeoutMs} ms.`, null)), timeoutMs);
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    };
  });
  try {
    return await Promise.race([answer, over]);
  } finally {
    end();
  }
}
