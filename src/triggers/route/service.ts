import type { RequestContext } from '../../auth/context.ts';
import { Refusal } from '../../kernel/errors.ts';
import type { ProjectReference } from '../../registry/project/model.ts';
import { requireKeyAt } from '../call.ts';
import type { DispatchMode } from '../script/model.ts';
import { checkSecret, makeSecret } from '../secret.ts';
import { type RouteRow, type RouteSignature, toRoutePath } from './model.ts';
import * as store from './store.ts';

export interface NewRoute {
  /** Left out: a new one. */
  id?: string | null | undefined;
  project?: ProjectReference | null | undefined;
  method: string;
  path: string;
  script: string;
  dispatchMode?: DispatchMode | null | undefined;
  signature: RouteSignature;
  secret?: string | null | undefined;
}

/**
 * Makes a route, or changes one's own.
 * @returns its key, and the secret if it was made here: it is shown once
 * @throws Refusal
 */
export async function saveRoute(
  context: RequestContext,
  input: NewRoute,
): Promise<{ id: string; secret: string | null }> {
  const id = input.id == null ? null : requireKeyAt(['input', 'id'], 'Route', input.id);
  const scriptId = requireKeyAt(['input', 'script'], 'Script', input.script);
  const problem = problemOf(input);
  if (problem !== null) throw new Refusal('INVALID', problem, { path: ['input', 'secret'] });
  const made = (await needsSecret(context, id, input)) ? makeSecret() : null;
  const { maxAttempts, backoff, baseMs } = context.triggers.retryDefaults;
  const columns = {
    method: input.method.toUpperCase(),
    path: toRoutePath(input.path),
    script_id: scriptId,
    dispatch_mode: input.dispatchMode ?? 'async',
    signature: input.signature,
    secret: input.secret ?? made,
    retry_max_attempts: maxAttempts,
    retry_backoff: backoff,
    retry_base_ms: baseMs,
  };
  return { id: await store.saveRoute(context, id, { columns, project: input.project }), secret: made };
}

function problemOf({ signature, secret }: NewRoute): string | null {
  if (secret == null) return null;
  if (signature !== 'none') return checkSecret(secret, signature);
  return 'Expected no secret: with the signature NONE requests are not signed.';
}

/** A new route has none yet, and what was made for one scheme is of no use to another. */
async function needsSecret(
  context: RequestContext,
  id: string | null,
  { signature, secret }: NewRoute,
): Promise<boolean> {
  if (signature === 'none' || secret != null) return false;
  if (id === null) return true;
  const [route] = await store.listRoutesById(context, [id]);
  return route?.signature !== signature;
}

/** @returns the route as it was */
export async function deleteRoute(context: RequestContext, id: string): Promise<RouteRow | null> {
  const key = requireKeyAt(['input', 'id'], 'Route', id);
  const [route = null] = await store.listRoutesById(context, [key]);
  await store.deleteRoute(context, key);
  return route;
}
