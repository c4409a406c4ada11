import type { Scope } from '../scopes.ts';

export type PrincipalKind = 'user' | 'agent' | 'service';

/** Somebody who can ask. What its tokens may do is at most `scopes`. */
export interface PrincipalRow {
  id: string;
  kind: PrincipalKind;
  handle: string;
  display_name: string | null;
  scopes: Scope[];
  disabled_at: string | null;
}
