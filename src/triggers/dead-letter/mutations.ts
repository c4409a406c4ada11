import { builder, type SchemaTypes } from '../../graphql/builder.ts';
import { type PageSizes, readSize } from '../../graphql/connection.ts';
import { addMutation } from '../../graphql/payload.ts';
import { DeadLetter, DeadLetterFilterInput, deadLetterLoader } from './graphql.ts';
import { mostResolved } from './model.ts';
import { resolveDeadLetters, type Selection } from './service.ts';

const letterSizes: PageSizes = { usual: 100, most: mostResolved };

interface Outcome {
  resolvedIds: string[];
  hasMore: boolean;
}

interface Answered {
  resolvedIds?: string[] | null;
  hasMore?: boolean | null;
}

/** The fields that both payloads share. */
function answered(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, Answered>) {
  return {
    hasMore: t.boolean({
      nullable: true,
      description: `Whether a filter met its bound of ${mostResolved.toLocaleString('en')}, so that there may be more: ask again.`,
      resolve: (outcome) => outcome.hasMore,
    }),
    deadLetters: t.field({
      type: [DeadLetter],
      nullable: { list: true, items: false },
      description: 'Those that it was done to, as they now stand.',
      extensions: { page: letterSizes },
      args: {
        first: t.arg.int({
          defaultValue: letterSizes.usual,
          description: `How many of them to show: 1 to ${mostResolved.toLocaleString('en')}.`,
        }),
      },
      resolve: async (outcome, { first }, context) => {
        const size = readSize('first', first, letterSizes) ?? letterSizes.usual;
        if (outcome.resolvedIds == null) return null;
        const loading = deadLetterLoader(context);
        const letters = await Promise.all(outcome.resolvedIds.slice(0, size).map((id) => loading.load(id)));
        return letters.filter((letter) => letter !== null);
      },
    }),
  };
}

addMutation<Selection, Outcome>({
  name: 'replayDeadLetters',
  description:
    'Has dead letters run again, as who registered them and with as many attempts as before: each once, however many ask at once. One that cannot be is a user error by itself, NOT_REPLAYABLE when it was resolved meanwhile. Scope triggers:admin.',
  input: selectionInput('ReplayDeadLettersInput', 'Which dead letters to have run again: exactly one of these.'),
  fields: (t) => ({
    replayedCount: t.int({
      nullable: true,
      description: 'How many wait in the outbox now.',
      resolve: (outcome) => outcome.resolvedIds?.length ?? null,
    }),
    ...answered(t),
  }),
  resolve: (input, context) => resolveDeadLetters(context, input, 'replayed'),
});

addMutation<Selection, Outcome>({
  name: 'ignoreDeadLetters',
  description:
    'Sets dead letters aside. One that cannot be is a user error by itself, NOT_REPLAYABLE when it was resolved meanwhile. Scope triggers:admin.',
  input: selectionInput('IgnoreDeadLettersInput', 'Which dead letters to set aside: exactly one of these.'),
  fields: (t) => ({
    ignoredCount: t.int({
      nullable: true,
      description: 'How many were set aside.',
      resolve: (outcome) => outcome.resolvedIds?.length ?? null,
    }),
    ...answered(t),
  }),
  resolve: (input, context) => resolveDeadLetters(context, input, 'ignored'),
});

function selectionInput(name: string, description: string) {
  return builder.inputRef<Selection>(name).implement({
    description,
    isOneOf: true,
    fields: (t) => ({
      ids: t.idList({ description: `These, at most ${mostResolved.toLocaleString('en')}.` }),
      filter: t.field({
        type: DeadLetterFilterInput,
        description: `The oldest unresolved ones of these, at most ${mostResolved.toLocaleString('en')} at a time.`,
      }),
    }),
  });
}
