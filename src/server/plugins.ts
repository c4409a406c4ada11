import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  getOperationAST,
  type SelectionSetNode,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { RequestContext } from '../auth/context.ts';
import type { Connection } from './connections.ts';
import { limitExceeded } from './errors.ts';
import { findTooDear, fragmentsOf, type Limits, parseWithin } from './limits.ts';

/** What is noted of a request for its log line and the metrics. */
export interface OperationRecord {
  kind: 'query' | 'mutation' | 'subscription' | 'none';
  name: string | null;
}

/** The context of one operation on any transport: what resolvers get, and what the server notes of it. */
export interface ServerContext extends RequestContext {
  operation: OperationRecord;
  /** What a stream of it would go out on. */
  connection: Connection | null;
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
    const tooDear = findTooDear(limits, { schema: args.schema, document: args.document, operation, variables });
    return tooDear === null ? null : limitExceeded(tooDear);
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

/**
 * Finds out where the feed stands before anything of a query is read, where the query asks for it: fields of one query
 * are read side by side, and what is read before the cursor was taken could be older than the cursor says.
 */
export function useReadFrom(): Plugin<ServerContext> {
  return {
    onExecute: async ({ args }) => {
      const { document, operationName, contextValue } = args as unknown as Executed;
      const operation = getOperationAST(document, operationName);
      if (operation?.operation !== 'query' || !selects(operation.selectionSet, 'cursor', fragmentsOf(document))) return;
      contextValue.readFrom = await contextValue.feed.now();
    },
  };
}

function selects(
  set: SelectionSetNode,
  field: string,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): boolean {
  return set.selections.some((selection) => {
    if (selection.kind === 'Field') return selection.name.value === field;
    const inner = selection.kind === 'InlineFragment' ? selection : fragments.get(selection.name.value);
    return inner !== undefined && selects(inner.selectionSet, field, fragments);
  });
}
