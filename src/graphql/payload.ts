import type { InputObjectRef, ObjectFieldsShape, ObjectRef } from '@pothos/core';
import type { RequestContext } from '../auth/context.ts';
import { Refusal, type RefusalCode, refusalCodes } from '../kernel/errors.ts';
import { builder, type SchemaTypes } from './builder.ts';

/** One thing that the caller can mend. */
export interface UserErrorShape {
  code: RefusalCode;
  message: string;
  path: readonly string[];
  details?: Readonly<Record<string, unknown>> | undefined;
}

const codeMeanings: Record<RefusalCode, string> = {
  INVALID: 'A value breaks a rule that the message names.',
  NOT_FOUND: 'No such thing, or none that the caller may see.',
  CONFLICT: 'Something else already has this name, path or remote, or changed meanwhile.',
  FORBIDDEN: 'The caller may see the thing but not do this to it.',
  CLAIMED: 'Another agent holds the worktree; `details` has the holder and the expiry.',
  FENCED: 'The claim was lost or taken over since; claim again before writing.',
  STALE_REPORT: 'A newer report is already stored; this one was dropped.',
  HEAD_MOVED: 'The stored head is not the expected one; `details` has it.',
  CYCLE: 'A project would become its own ancestor.',
  IN_USE: 'Other things still refer to it, or work in it would be lost.',
  BUILTIN: 'It is built in and can neither be renamed nor deleted.',
  PAYLOAD_TOO_LARGE: 'More than is accepted at once; `details` has the limit.',
  UNSUPPORTED_VERSION: 'The server does not know this schema version.',
  NOT_REPLAYABLE: 'It was already resolved.',
  TIMED_OUT: 'No result came within the time given.',
};

const UserErrorCode = builder.enumType('UserErrorCode', {
  description: 'Why a mutation was refused: what programs branch on.',
  values: Object.fromEntries(refusalCodes.map((code) => [code, { value: code, description: codeMeanings[code] }])) as {
    [Code in RefusalCode]: { value: Code; description: string };
  },
});

export const UserError = builder.objectRef<UserErrorShape>('UserError').implement({
  description: 'A refusal that the caller can mend. Nothing of the refused item was stored.',
  fields: (t) => ({
    code: t.expose('code', { type: UserErrorCode, description: 'What kind of refusal it is.' }),
    message: t.exposeString('message', { description: 'What was expected, what came, and what to do.' }),
    path: t.stringList({
      description: "Where in the arguments: `input`, then field names and list indexes; batches name the item's index.",
      resolve: (error) => [...error.path],
    }),
    details: t.field({
      type: 'JSON',
      nullable: true,
      description: 'Facts for programs, such as the holder of a claim.',
      resolve: (error) => error.details ?? null,
    }),
  }),
});

export function toUserError(refusal: Refusal): UserErrorShape {
  const { code, message, details } = refusal;
  return { code, message, details, path: refusal.path.length === 0 ? ['input'] : refusal.path };
}

/** What a mutation's service answers: the payload's fields and, for batches, what was refused of it. */
export type Outcome<Shape> = Shape & { userErrors?: readonly UserErrorShape[] };

type Refused<Shape> = { [Key in keyof Shape]?: Shape[Key] | null } & {
  userErrors: readonly UserErrorShape[];
  /** Made only when it is asked for. */
  cursor?: () => string;
};

/**
 * Adds a mutation with its `<Verb>Payload`: every field of it is null when the mutation was refused, and the refusals
 * (thrown as `Refusal`, one or in an `AggregateError`) stand in `userErrors`. Any other error is a defect and is masked.
 */
export function addMutation<Input, Shape extends object>(options: {
  name: string;
  description: string;
  /** Another mutation's payload to answer with; its fields are then not given again. */
  payload?: ObjectRef<SchemaTypes, Refused<Shape>>;
  /** Left out for a mutation without an input. */
  input?: InputObjectRef<SchemaTypes, Input>;
  fields?: ObjectFieldsShape<SchemaTypes, Refused<Shape>>;
  resolve: (input: Input, context: RequestContext) => Promise<Outcome<Shape>>;
}): ObjectRef<SchemaTypes, Refused<Shape>> {
  const payload = options.payload ?? makePayload(options.name, options.fields);
  const run = async (input: Input, context: RequestContext): Promise<Refused<Shape>> => {
    // Mutations run one after the other: each finds out its own.
    context.writtenFrom = null;
    try {
      const outcome = await options.resolve(input, context);
      return { ...placeOf(context), ...outcome, userErrors: outcome.userErrors ?? [] };
    } catch (error) {
      return { userErrors: refusalsIn(error).map(toUserError) } as unknown as Refused<Shape>;
    } finally {
      // What was written is committed by now, whatever was refused after it.
      if (context.writtenFrom !== null) context.feed.ring();
    }
  };
  const { description, input } = options;
  builder.mutationField(options.name, (t) =>
    t.field({
      type: payload,
      description,
      args:
        input === undefined
          ? {}
          : { input: t.arg({ type: input, required: true, description: 'What to do, and to what.' }) },
      resolve: (_root, args, context) => run((args as { input: Input }).input, context) as never,
    }),
  );
  return payload;
}

function makePayload<Shape extends object>(
  mutation: string,
  fields: ObjectFieldsShape<SchemaTypes, Refused<Shape>> | undefined,
): ObjectRef<SchemaTypes, Refused<Shape>> {
  const name = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Payload`;
  return builder.objectRef<Refused<Shape>>(name).implement({
    description: `What \`${mutation}\` answers.`,
    fields: (t) => ({
      ...fields?.(t),
      cursor: t.field({
        type: 'Cursor',
        nullable: true,
        description: 'Give it as `after` to a subscription: it begins with this change. Null when nothing was done.',
        resolve: (outcome) => outcome.cursor?.() ?? null,
      }),
      userErrors: t.field({
        type: [UserError],
        description: 'Why it was refused, wholly or in part; empty when all of it was done.',
        resolve: (outcome) => outcome.userErrors,
      }),
    }),
  });
}

function placeOf({ feed, writtenFrom }: RequestContext): { cursor?: () => string } {
  return writtenFrom == null ? {} : { cursor: () => feed.cursorOf({ prev: writtenFrom, within: null }) };
}

/** @throws the error itself unless it is made of refusals only */
function refusalsIn(error: unknown): Refusal[] {
  if (error instanceof Refusal) return [error];
  if (error instanceof AggregateError && error.errors.every((item) => item instanceof Refusal)) return error.errors;
  throw error;
}
