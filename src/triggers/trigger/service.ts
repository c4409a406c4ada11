import type { RequestContext } from '../../auth/context.ts';
import type { Op } from '../../feed/event.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { requireKeyAt, requireSourceKeyAt } from '../call.ts';
import type { SourceKind } from '../outbox/model.ts';
import type { Backoff, DispatchMode } from '../script/model.ts';
import { checkCron, planCron } from './cron.ts';
import type { CatchUp, TriggerRow } from './model.ts';
import * as store from './store.ts';

/** What sets a trigger off: exactly one of the three. */
export interface TriggerSpec {
  kv?: { collectionGlob: string; ops: readonly Op[] } | null | undefined;
  deadLetter?: DeadLetterSpec | null | undefined;
  cron?: CronSpec | null | undefined;
}

export interface DeadLetterSpec {
  source?: SourceKind | null | undefined;
  /** A trigger's or a route's. */
  trigger?: string | null | undefined;
  script?: string | null | undefined;
}

export interface CronSpec {
  expression: string;
  timezone?: string | null | undefined;
  catchUp: CatchUp;
}

interface Settings {
  condition?: string | null | undefined;
  enabled?: boolean | null | undefined;
  retryMaxAttempts?: number | null | undefined;
  retryBackoff?: Backoff | null | undefined;
  retryBaseMs?: number | null | undefined;
}

export interface NewTrigger extends Settings {
  project?: ProjectReference | null | undefined;
  script: string;
  spec: TriggerSpec;
  dispatchMode?: DispatchMode | null | undefined;
}

export interface TriggerChange extends Settings {
  id: string;
  spec?: TriggerSpec | null | undefined;
}

/**
 * Registers a trigger. How it retries is written into its row, so that later defaults do not change it.
 * @returns its key
 * @throws Refusal
 */
export async function createTrigger(context: RequestContext, input: NewTrigger): Promise<string> {
  if (input.dispatchMode === 'sync') {
    const message = 'Expected ASYNC: nobody waits for what a trigger sets off, only routes know SYNC.';
    throw new Refusal('INVALID', message, { path: ['input', 'dispatchMode'] });
  }
  await requireCondition(context, input.condition);
  const { maxAttempts, backoff, baseMs } = context.triggers.retryDefaults;
  const columns = {
    script_id: requireKeyAt(['input', 'script'], 'Script', input.script),
    enabled: input.enabled ?? true,
    condition: input.condition ?? null,
    retry_max_attempts: input.retryMaxAttempts ?? maxAttempts,
    retry_backoff: input.retryBackoff ?? backoff,
    retry_base_ms: input.retryBaseMs ?? baseMs,
  };
  return store.createTrigger(context, { columns, project: input.project }, toDetails(input.spec));
}

/**
 * What is absent stays; a null condition clears it, any other null keeps what it is of.
 * @returns its key
 * @throws Refusal
 */
export async function updateTrigger(context: RequestContext, change: TriggerChange): Promise<string> {
  const key = requireKeyAt(['input', 'id'], 'Trigger', change.id);
  await requireCondition(context, change.condition);
  const settings = Object.entries({
    enabled: change.enabled,
    retry_max_attempts: change.retryMaxAttempts,
    retry_backoff: change.retryBackoff,
    retry_base_ms: change.retryBaseMs,
  }).filter(([, value]) => value != null);
  const patch = {
    ...Object.fromEntries(settings),
    ...(change.condition === undefined ? {} : { condition: change.condition }),
  };
  await store.updateTrigger(context, key, { patch, spec: change.spec == null ? null : toDetails(change.spec) });
  return key;
}

async function requireCondition({ triggers }: RequestContext, condition: string | null | undefined): Promise<void> {
  const problem = condition == null ? null : await triggers.checks.condition(condition);
  if (problem !== null) throw new Refusal('INVALID', problem, { path: ['input', 'condition'] });
}

/** The columns of the details of its kind. */
function toDetails({ kv, deadLetter, cron }: TriggerSpec): object {
  if (kv != null) return { kind: 'kv', collection_glob: kv.collectionGlob, ops: kv.ops };
  if (cron != null) return cronDetails(cron);
  const { source, trigger, script } = deadLetter ?? {};
  const path = ['input', 'spec', 'deadLetter'];
  return {
    kind: 'dead_letter',
    source_filter: source ?? null,
    trigger_id_filter: trigger == null ? null : requireSourceKeyAt([...path, 'trigger'], trigger),
    script_id_filter: script == null ? null : requireKeyAt([...path, 'script'], 'Script', script),
  };
}

function cronDetails({ expression, timezone: given, catchUp }: CronSpec): object {
  const path = ['input', 'spec', 'cron'];
  const timezone = given ?? 'UTC';
  const problem = checkCron(expression, timezone);
  if (problem !== null) throw new Refusal('INVALID', problem.message, { path: [...path, problem.field] });
  const { next } = planCron({ expression, timezone, catchUp, dueAt: null, now: new Date() });
  if (next === null) {
    const message = 'Expected an expression that will be due some time: this one never is again.';
    throw new Refusal('INVALID', message, { path: [...path, 'expression'] });
  }
  return { kind: 'cron', expression, timezone, catch_up: catchUp, next_due_at: next.toISOString() };
}

/** @returns the trigger as it was */
export async function deleteTrigger(context: RequestContext, id: string): Promise<TriggerRow | null> {
  const key = requireKeyAt(['input', 'id'], 'Trigger', id);
  const [trigger = null] = await store.listTriggersById(context, [key]);
  await store.deleteTrigger(context, key);
  return trigger;
}
