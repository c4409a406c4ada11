import { type ExecutionResult, execute, type GraphQLError, type GraphQLSchema } from 'graphql';
import type { RequestContext, Viewer } from '../../auth/context.ts';
import { type RefusalCode, RequestError, type RequestErrorCode } from '../../kernel/errors.ts';
import { createDeadline } from '../execution/deadline.ts';
import type { Outcome } from '../execution/model.ts';
import { type CompiledDocument, type Documents, refusedField } from '../script/document.ts';

/** Runs stored operations: as somebody, within the limits of every request, and for so long. */
export interface Operations {
  run(options: OperationRun): Promise<Outcome>;
}

export interface OperationRun {
  document: string;
  /** What the template gave; an object, or null for none. */
  variables: unknown;
  viewer: Viewer;
  /** Of the outbox row: what the script changes is one deeper. */
  depth: number;
  timeoutMs: number;
  /** The dispatcher goes away. */
  stop: AbortSignal;
}

export interface OperationsOptions {
  schema: GraphQLSchema;
  documents: Documents;
  makeContext: (viewer: Viewer) => RequestContext;
  /** What an operation costs too much for; null: it may run. */
  refuseCost: (compiled: CompiledDocument, variables: Readonly<Record<string, unknown>>) => string | null;
  /** An error as clients are told it: `extensions.code` is one of those of requests. */
  toClientError: (error: unknown, context: RequestContext) => GraphQLError;
}

/** Trying again changes nothing about these; about the others it may. */
const permanentCodes: ReadonlySet<RequestErrorCode | RefusalCode> = new Set([
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'BAD_USER_INPUT',
  'BAD_CURSOR',
  'CURSOR_EXPIRED',
  'INVALID',
  'NOT_FOUND',
  'FENCED',
  'STALE_REPORT',
  'CYCLE',
  'BUILTIN',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_VERSION',
  'NOT_REPLAYABLE',
]);

export function createOperations(options: OperationsOptions): Operations {
  return {
    async run({ document, variables, viewer, depth, timeoutMs, stop }) {
      const context = options.makeContext(viewer);
      context.depth = depth + 1;
      using deadline = createDeadline({
        timeoutMs,
        stop,
        late: `It took longer than ${timeoutMs} ms, the timeoutMs of the script.`,
        stopped: 'The dispatcher went away while it ran.',
      });
      try {
        const compiled = options.documents.compile(document);
        const given = requireVariables(variables);
        const tooDear = options.refuseCost(compiled, given);
        if (tooDear !== null) return failed(tooDear, true);
        const result = execute({
          schema: options.schema,
          document: compiled.document,
          variableValues: given,
          contextValue: context,
          abortSignal: deadline.signal,
        }) as ExecutionResult | Promise<ExecutionResult>;
        // A resolver that hears of no signal keeps its execution from ending; nobody waits for it longer than was said.
        const ended = result instanceof Promise ? await Promise.race([result, deadline.reached]) : result;
        return deadline.outcome() ?? judge(ended, (error) => options.toClientError(error, context));
      } catch (error) {
        const outcome = deadline.outcome();
        if (outcome !== null) return outcome;
        const { message, extensions } = options.toClientError(error, context);
        return failed(`${extensions.code}: ${message}`, permanentCodes.has(extensions.code as RequestErrorCode));
      } finally {
        // What is still under way for it may stop where it is.
        context.caller.gone = true;
      }
    },
  };
}

function requireVariables(variables: unknown): Record<string, unknown> {
  if (variables === null || variables === undefined) return {};
  if (typeof variables === 'object' && !Array.isArray(variables)) return variables as Record<string, unknown>;
  throw new RequestError('BAD_USER_INPUT', 'Expected variables that are an object by name.');
}

function failed(error: string, permanent: boolean, result?: unknown): Outcome {
  return { status: 'failed', error, permanent, retryAfterMs: null, ...(result === undefined ? {} : { result }) };
}

interface Refused {
  code: RefusalCode;
  message: string;
}

/** A script did its work if nothing went wrong and nothing was refused. */
function judge(result: ExecutionResult, toClientError: (error: unknown) => GraphQLError): Outcome {
  const refused = takeRefused(result.data);
  const errors = (result.errors ?? []).map((error) => {
    const { message, extensions } = toClientError(error);
    return { code: extensions.code as RequestErrorCode, message, path: error.path };
  });
  const problems = [
    ...errors.map(({ code, message, path }) => ({ code, message, where: path?.join('.') ?? null })),
    ...refused.map(({ field, code, message }) => ({ code, message, where: field })),
  ];
  const [first] = problems;
  if (first === undefined) return { status: 'succeeded', result: result.data ?? null };
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const text = `${first.where === null ? '' : `${first.where}: `}${first.code}: ${first.message}${more}`;
  return failed(
    text,
    problems.some(({ code }) => permanentCodes.has(code)),
    { data: result.data ?? null, errors: problems },
  );
}

/** Takes what the document was made to ask for besides out of what its author asked for. */
function takeRefused(data: ExecutionResult['data']): (Refused & { field: string })[] {
  if (data == null) return [];
  return Object.entries(data).flatMap(([field, payload]) => {
    if (typeof payload !== 'object' || payload === null || !(refusedField in payload)) return [];
    const { [refusedField]: refused, ...rest } = payload as Record<string, unknown>;
    data[field] = rest;
    return (refused as Refused[]).map((item) => ({ ...item, field }));
  });
}
