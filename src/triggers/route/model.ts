import type { Scope } from '../../auth/scopes.ts';
import type { Backoff, DispatchMode } from '../script/model.ts';

export type RouteSignature = 'standard' | 'github' | 'none';

/** An inbound webhook. Its secret is never read by request work. */
export interface RouteRow {
  id: string;
  /** Null: of the whole registry. */
  project_id: string | null;
  /** In upper case. */
  method: string;
  /** Begins with `/hooks/`. */
  path: string;
  script_id: string;
  dispatch_mode: DispatchMode;
  signature: RouteSignature;
  /** Whom its script runs as. */
  registered_by_principal: string;
  scopes: Scope[];
  retry_max_attempts: number;
  retry_backoff: Backoff;
  retry_base_ms: number;
  created_at: string;
  updated_at: string;
}

export const routeColumns = [
  'id',
  'project_id',
  'method',
  'path',
  'script_id',
  'dispatch_mode',
  'signature',
  'registered_by_principal',
  'scopes',
  'retry_max_attempts',
  'retry_backoff',
  'retry_base_ms',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof RouteRow)[];

/** A path as routes have it: `x/y`, `/x/y` and `/hooks/x/y` are the same one. */
export function toRoutePath(path: string): string {
  const rest = path
    .replace(/^\//, '')
    .replace(/^hooks(?=\/|$)/, '')
    .replace(/^\//, '');
  return `/hooks/${rest}`;
}
