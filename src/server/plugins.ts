import { type DocumentNode, type GraphQLSchema, getOperationAST } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { RequestContext } from '../auth/context.ts';
import { limitExceeded } from './errors.ts';
import { costOf, type Limits, parseWithin } from './limits.ts';

/** What is noted of a request for its log line and the metrics. */
export interface OperationRecord {
  kind: 'query' | 'mutation' | 'subscription' | 'none';
  name: string | null;
}

/** The context of one operation on any transport: what resolvers get, and what the server notes of it. */
export interface ServerContext extends RequestContext {
  operation: OperationRecord;
}

interface Executed {
  schema: GraphQLSchema;
  document: DocumentNode;
  operationName?: string | null | undefined;
  variableValues?: unknown;
  contextValue: ServerContext;
}

/**
 * Limits and bookkeeping as one plugin of the execution pipeline, which HTTP and WebSocket share: whatever hangs on HTTP
 * alone would be bypassed by the other.
 */
export function useLimits(limits: Limits): Plugin<ServerContext> {
  const parse = parseWithin(limits);

  function check(args: Executed): Error | null {
    const operation = getOperationAST(args.document, args.operationName);
    if (operation == null) return null;
    args.contextValue.operation.kind = operation.operation;
    args.contextValue.operation.name = operation.name?.value ?? null;
    const variables = (args.variableValues ?? {}) as Record<string, unknown>;
    const cost = costOf({ schema: args.schema, document: args.document, operation, variables });
    return cost <= limits.cost
      ? null
      : limitExceeded(
          `The operation costs ${cost} and the limit is ${limits.cost}: ask for smaller pages or fewer fields.`,
        );
  }

  return {
    onParse: ({ setParseFn }) => setParseFn(parse as never),
    onExecute: ({ args, setResultAndStopExecution }) => {
      const refusal = check(args as unknown as Executed);
      if (refusal !== null) setResultAndStopExecution({ errors: [refusal as never] });
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      const refusal = check(args as unknown as Executed);
      if (refusal !== null) setResultAndStopExecution({ errors: [refusal as never] });
    },
  };
}
