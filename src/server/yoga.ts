import { type ExecutionArgs, GraphQLError, type GraphQLSchema } from 'graphql';
import { createYoga, type Plugin, type YogaServerInstance } from 'graphql-yoga';
import { RequestError, type RequestErrorCode } from '../kernel/errors.ts';
import { toClientError } from './errors.ts';
import type { Limits } from './limits.ts';
import type { Live } from './live/live.ts';
import { type ServerContext, useLimits, useReadFrom } from './plugins.ts';

export type Yoga = YogaServerInstance<ServerContext, ServerContext>;

/** The execution pipeline that both transports share. */
export function createPipeline(options: {
  schema: GraphQLSchema;
  limits: Limits;
  live: Live;
  onError: (code: RequestErrorCode) => void;
}): Yoga {
  return createYoga<ServerContext, ServerContext>({
    schema: options.schema,
    plugins: [useLimits(options.limits), useReadFrom(), useLive(options.live), useClientErrors(options.onError)],
    logging: false,
    graphiql: false,
    landingPage: false,
    // Decided before anything reaches this pipeline; see access.ts.
    cors: false,
    multipart: false,
    maskedErrors: false,
  });
}

/** Subscriptions are executed by `live`, which shares them and masks their errors. */
function useLive(live: Live): Plugin<ServerContext> {
  return {
    onSubscribe: ({ setSubscribeFn }) => setSubscribeFn(((args: ExecutionArgs) => live.subscribe(args)) as never),
  };
}

/** Server-sent events have no message for a stream that failed: the error goes out as a last result. */
function withFailure(stream: AsyncIterableIterator<unknown>): AsyncIterableIterator<unknown> {
  const iterator: AsyncIterableIterator<unknown> = {
    next: () =>
      stream.next().catch((error: unknown) => {
        if (!(error instanceof GraphQLError)) throw error;
        return { value: { errors: [error] }, done: false };
      }),
    return: () => stream.return?.() ?? Promise.resolve({ value: undefined, done: true }),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}

/** What cannot be written, because it nests too deep or is too long, is an error like any other, and not Yoga's. */
function writerFor(onError: (code: RequestErrorCode) => void) {
  return ({ log, requestId }: ServerContext) =>
    (result: unknown): string => {
      try {
        return JSON.stringify(result);
      } catch (cause) {
        const error = new RequestError('LIMIT_EXCEEDED', 'The answer cannot be written: ask for less at once.', {
          cause,
        });
        return JSON.stringify({ errors: [toClientError(error, { log, requestId, onError })] });
      }
    };
}

interface WithErrors {
  errors?: readonly GraphQLError[];
}

/**
 * Masks errors where they leave the pipeline. Yoga's own masking does not know whose request it is, and an error that is
 * logged without its request's id helps nobody.
 */
function useClientErrors(onError: (code: RequestErrorCode) => void): Plugin<ServerContext> {
  function converted<Result extends object>(result: Result, context: ServerContext): Result {
    const { errors } = result as WithErrors;
    if (errors === undefined) return result;
    const { log, requestId } = context;
    return { ...result, errors: errors.map((error) => toClientError(error, { log, requestId, onError })) };
  }

  const writeWithin = writerFor(onError);
  return {
    onExecute: ({ args }) => ({
      onExecuteDone: ({ result, setResult }) => {
        if (Symbol.asyncIterator in result) return undefined;
        setResult(converted(result, args.contextValue as unknown as ServerContext));
        return undefined;
      },
    }),
    // What fails before execution: a document that does not parse or does not fit the schema.
    onResultProcess: ({ result, setResult, serverContext }) => {
      if (Array.isArray(result)) return;
      const context = serverContext as unknown as ServerContext;
      if (Symbol.asyncIterator in result) setResult(withFailure(result as AsyncIterableIterator<unknown>) as never);
      else setResult({ ...converted(result as object, context), stringify: writeWithin(context) } as never);
    },
  };
}
