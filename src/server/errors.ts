import { GraphQLError } from 'graphql';
import { asRefusal } from '../db/refusals.ts';
import { Refusal, RequestError, type RequestErrorCode } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

/**
 * What leaves the gateway as an error, on every transport: a message for people and `extensions.code` for programs. What
 * nobody foresaw is masked and logged once, with the request's id in both places.
 */
export interface ErrorContext {
  log: Logger;
  requestId: string;
  onError?: (code: RequestErrorCode) => void;
}

export function toClientError(error: unknown, context: ErrorContext): GraphQLError {
  // Logged and counted once, however many layers it passes on its way out.
  if (error instanceof GraphQLError && known.has(error)) return error;
  const made = explain(error, context);
  known.add(made);
  return made;
}

const known = new WeakSet<GraphQLError>();

function explain(error: unknown, context: ErrorContext): GraphQLError {
  const cause = rootCause(error);
  const refusal = asRefusal(cause);
  if (refusal instanceof RequestError) {
    return coded(error, refusal.code, refusal.message, context, refusal.facts);
  }
  // A rule that refuses what a query asks for: there is no payload that could carry it.
  if (refusal instanceof Refusal) return coded(error, 'BAD_USER_INPUT', refusal.message, context);
  // What GraphQL itself says of a document or of variables is about the request, and safe to show.
  if (error instanceof GraphQLError && cause instanceof GraphQLError) {
    return coded(error, codeOf(error) ?? 'BAD_USER_INPUT', error.message, context);
  }
  context.log.error({ err: cause, requestId: context.requestId }, 'unexpected error');
  return coded(error, 'INTERNAL', 'Something went wrong here. It was logged.', context);
}

/** graphql-js and the server each wrap what a resolver threw. */
function rootCause(error: unknown): unknown {
  let cause = error;
  while (cause instanceof GraphQLError && cause.originalError !== undefined) cause = cause.originalError;
  return cause;
}

const ownCodes: readonly string[] = ['LIMIT_EXCEEDED', 'UNAUTHENTICATED', 'FORBIDDEN'];

function codeOf(error: GraphQLError): RequestErrorCode | null {
  const code = error.extensions.code;
  return typeof code === 'string' && ownCodes.includes(code) ? (code as RequestErrorCode) : null;
}

function coded(
  error: unknown,
  code: RequestErrorCode,
  message: string,
  context: ErrorContext,
  facts: Readonly<Record<string, unknown>> = {},
): GraphQLError {
  context.onError?.(code);
  const { nodes, source, positions, path, extensions } = error instanceof GraphQLError ? error : new GraphQLError('');
  // A body that is no JSON never was a GraphQL request: 400 also where GraphQL errors come with 200.
  const http = extensions.originalError === undefined ? extensions.http : { status: 400 };
  return new GraphQLError(message, {
    nodes,
    source,
    positions,
    path,
    extensions: {
      ...facts,
      code,
      ...(code === 'INTERNAL' ? { requestId: context.requestId } : {}),
      // The HTTP layer takes its status from here and keeps it to itself.
      ...(http === undefined ? {} : { http }),
    },
  });
}

/** The refusal of a limit, as the server's own layers raise it. */
export function limitExceeded(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', http: { status: 400, spec: true } } });
}
