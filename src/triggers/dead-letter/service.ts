import type { RequestContext } from '../../auth/context.ts';
import { toUserError, type UserErrorShape } from '../../graphql/payload.ts';
import { Refusal } from '../../kernel/errors.ts';
import { encodeId, keyOf } from '../../kernel/ids.ts';
import { type DeadLetterFilter, mostResolved } from './model.ts';
import * as store from './store.ts';

/** Which dead letters: by id, or the oldest unresolved ones of a filter. Exactly one of the two. */
export interface Selection {
  ids?: readonly string[] | null | undefined;
  filter?: DeadLetterFilter | null | undefined;
}

export interface Resolved {
  /** Their keys. */
  resolvedIds: string[];
  /** A filter met the bound: there may be more. */
  hasMore: boolean;
  userErrors: UserErrorShape[];
}

/**
 * Replays dead letters, or sets them aside: each once, however many ask at once. What cannot be is told by itself, and the
 * others are done all the same.
 * @throws Refusal INVALID, PAYLOAD_TOO_LARGE
 */
export async function resolveDeadLetters(
  context: RequestContext,
  { ids, filter }: Selection,
  resolution: 'replayed' | 'ignored',
): Promise<Resolved> {
  const outcome =
    ids == null ? await byFilter(context, filter ?? {}, resolution) : await byIds(context, ids, resolution);
  if (outcome.resolvedIds.length === 0) context.writtenFrom = null;
  return outcome;
}

async function byIds(
  context: RequestContext,
  ids: readonly string[],
  resolution: 'replayed' | 'ignored',
): Promise<Resolved> {
  if (ids.length > mostResolved) {
    throw new Refusal(
      'PAYLOAD_TOO_LARGE',
      `Expected at most ${mostResolved} ids, got ${ids.length}: send some at a time.`,
      {
        path: ['input', 'ids'],
        details: { limit: mostResolved },
      },
    );
  }
  const keys = ids.map((id) => keyOf('DeadLetter', id));
  const known = [...new Set(keys.filter((key) => key !== null))];
  const outcome = await store.resolveDeadLetters(context, { ids: known }, resolution);
  const refused = outcome.refused.map(
    ({ id, code, message }) =>
      new Refusal(code, message, { path: placeOf(keys.indexOf(id)), details: { id: encodeId('DeadLetter', id) } }),
  );
  const unknown = keys.flatMap((key, index) =>
    key !== null
      ? []
      : new Refusal('NOT_FOUND', `You have no dead letter with the id ${JSON.stringify(ids[index])}.`, {
          path: placeOf(index),
        }),
  );
  return { ...toResolved(outcome), userErrors: [...refused, ...unknown].map(toUserError) };
}

function placeOf(index: number): string[] {
  return ['input', 'ids', String(index)];
}

async function byFilter(
  context: RequestContext,
  filter: DeadLetterFilter,
  resolution: 'replayed' | 'ignored',
): Promise<Resolved> {
  const path = ['input', 'filter'];
  if (filter.unresolved === false) {
    const message = 'Expected a filter of unresolved dead letters: what was resolved is not resolved again.';
    throw new Refusal('INVALID', message, { path: [...path, 'unresolved'] });
  }
  const outcome = await resolveOf(context, filter, resolution);
  // None but where something was deleted at the same moment.
  const refused = outcome.refused.map(
    ({ id, code, message }) => new Refusal(code, message, { path, details: { id: encodeId('DeadLetter', id) } }),
  );
  return { ...toResolved(outcome), userErrors: refused.map(toUserError) };
}

async function resolveOf(context: RequestContext, filter: DeadLetterFilter, resolution: 'replayed' | 'ignored') {
  try {
    return await store.resolveDeadLetters(context, { filter }, resolution);
  } catch (error) {
    const isOfProject = error instanceof Refusal && error.path.join('.') === 'input.project';
    throw isOfProject ? error.at(['input', 'filter', 'project']) : error;
  }
}

function toResolved({ resolved_ids: resolvedIds, has_more: hasMore }: store.Resolved): Omit<Resolved, 'userErrors'> {
  return { resolvedIds, hasMore };
}
