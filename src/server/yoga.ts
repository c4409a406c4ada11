import { GraphQLError, type GraphQLSchema } from 'graphql';
import { createYoga, type Plugin, type YogaServerInstance } from 'graphql-yoga';
import type { RequestErrorCode } from '../kernel/errors.ts';
import { toClientError } from './errors.ts';
import type { Limits } from './limits.ts';
import { type ServerContext, useLimits } from './plugins.ts';

export type Yoga = YogaServerInstance<ServerContext, ServerContext>;

/** The execution pipeline that both transports share. */
export function createPipeline(options: {
  schema: GraphQLSchema;
  limits: Limits;
  onError: (code: RequestErrorCode) => void;
}): Yoga {
  return createYoga<ServerContext, ServerContext>({
    schema: options.schema,
    plugins: [useLimits(options.limits), useClientErrors(options.onError)],
    logging: false,
    graphiql: false,
    landingPage: false,
    // Decided before anything reaches this pipeline; see access.ts.
    cors: false,
    multipart: false,
    maskedErrors: false,
  });
}

interface WithErrors {
  errors?: readonly GraphQLError[];
}

/**
 * Masks errors where they leave the pipeline. Yoga's own masking does not know whose request it is, and an error that is
 * logged without its request's id helps nobody.
 */
function useClientErrors(onError: (code: RequestErrorCode) => void): Plugin<ServerContext> {
  const done = new WeakSet<GraphQLError>();

  function convert(error: unknown, context: ServerContext): GraphQLError {
    if (error instanceof GraphQLError && done.has(error)) return error;
    const converted = toClientError(error, { log: context.log, requestId: context.requestId, onError });
    done.add(converted);
    return converted;
  }

  function converted<Result extends object>(result: Result, context: ServerContext): Result {
    const { errors } = result as WithErrors;
    if (errors === undefined) return result;
    return { ...result, errors: errors.map((error) => convert(error, context)) };
  }

  return {
    onExecute: ({ args }) => ({
      onExecuteDone: ({ result, setResult }) => {
        if (Symbol.asyncIterator in result) return undefined;
        setResult(converted(result, args.contextValue as unknown as ServerContext));
        return undefined;
      },
    }),
    onSubscribe: ({ args }) => {
      const context = args.contextValue as unknown as ServerContext;
      return {
        onSubscribeResult: ({ result, setResult }) => {
          if (!(Symbol.asyncIterator in result)) {
            setResult(converted(result, context) as never);
            return undefined;
          }
          return { onNext: ({ result: event, setResult: setEvent }) => setEvent(converted(event, context) as never) };
        },
        onSubscribeError: ({ error, setError }) => setError(convert(error, context)),
      };
    },
    // What fails before execution: a document that does not parse or does not fit the schema.
    onResultProcess: ({ result, setResult, serverContext }) => {
      if (Array.isArray(result) || Symbol.asyncIterator in result) return;
      setResult(converted(result as object, serverContext as unknown as ServerContext) as never);
    },
  };
}
