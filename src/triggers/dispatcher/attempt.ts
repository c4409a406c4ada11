import type { Viewer } from '../../auth/context.ts';
import { isScope, type Scope } from '../../auth/scopes.ts';
import { findUnstorable, toStorableText } from '../../db/storable.ts';
import type { Outcome } from '../execution/model.ts';
import type { Expressions } from '../expression/expressions.ts';
import type { Webhooks } from '../webhook/webhook.ts';
import type { Operations } from './operation.ts';
import type { ClaimedRow } from './store.ts';

/** What an attempt is made with. */
export interface Attempting {
  operations: Operations;
  webhooks: Webhooks;
  expressions: Expressions;
}

/** Of what is kept of an attempt, as JSON. */
const mostResultBytes = 262_144;
const mostErrorCharacters = 4_000;

/** Runs what a row of the outbox says, once. Never throws: what goes wrong is an outcome. */
export async function attempt(row: ClaimedRow, tools: Attempting, stop: AbortSignal): Promise<Outcome> {
  const hopeless = findHopeless(row);
  if (hopeless !== null) return failedForGood(hopeless);
  const [rendered] = await tools.expressions.render([{ template: row.variables, event: row.payload }]);
  if (rendered === undefined || !rendered.ok) {
    const what = row.kind === 'webhook' ? 'body' : 'variables';
    return toStorable(
      failedForGood(`The ${what} could not be made of the event: ${rendered?.error ?? 'nothing came'}`),
    );
  }
  const outcome = await (row.kind === 'webhook' ? deliver : operate)(row, rendered.value, tools, stop);
  return toStorable(outcome);
}

/** What can never succeed, whatever is tried. */
function findHopeless({ script_deleted, disabled, handle }: ClaimedRow): string | null {
  if (script_deleted) return 'The script was deleted.';
  if (disabled) return `The principal ${handle}, as whom it runs, is disabled.`;
  return null;
}

function operate(row: ClaimedRow, variables: unknown, { operations }: Attempting, stop: AbortSignal): Promise<Outcome> {
  const { document, depth, timeout_ms: timeoutMs } = row;
  return operations.run({ document: document ?? '', variables, viewer: toViewer(row), depth, timeoutMs, stop });
}

function deliver(row: ClaimedRow, body: unknown, { webhooks }: Attempting, stop: AbortSignal): Promise<Outcome> {
  const delivery = {
    url: row.url ?? '',
    secret: row.secret ?? '',
    headers: row.headers,
    messageId: `msg_${row.message_id}`,
    body: JSON.stringify(row.variables === null ? row.payload : body),
    timeoutMs: row.timeout_ms,
    depth: row.depth + 1,
  };
  return webhooks.send(delivery, stop);
}

function toViewer(row: ClaimedRow): Viewer {
  return {
    principalId: row.principal_id,
    handle: row.handle,
    kind: row.principal_kind,
    scopes: new Set<Scope>(row.scopes.filter(isScope)),
    spaceIds: row.space_ids,
    tokenId: null,
    expiresAtMs: null,
  };
}

function failedForGood(error: string): Outcome {
  return { status: 'failed', error, permanent: true, retryAfterMs: null };
}

/**
 * What an execution keeps has a bound, and must be something that the database can hold: a text that a script was refused for may
 * stand in what it says. That a script did its work stays true of a result that cannot be kept.
 */
function toStorable(outcome: Outcome): Outcome {
  const told =
    outcome.status === 'succeeded'
      ? outcome
      : { ...outcome, error: toStorableText(outcome.error.slice(0, mostErrorCharacters)) };
  if (told.status === 'timed_out' || told.result === undefined) return told;
  const why = whyNotKept(told.result);
  return why === null ? told : { ...told, result: { omitted: why } };
}

function whyNotKept(result: unknown): string | null {
  const unstorable = findUnstorable(result);
  if (unstorable !== null) return toStorableText(`The result ${unstorable.path.join('.')} ${unstorable.problem}.`);
  const bytes = Buffer.byteLength(JSON.stringify(result) ?? '');
  return bytes > mostResultBytes
    ? `The result has ${bytes} bytes, and ${mostResultBytes} are kept: ask for less.`
    : null;
}
