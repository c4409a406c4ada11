import { Principal, Scope } from '../auth/principal/graphql.ts';
import type { Scope as ScopeName } from '../auth/scopes.ts';
import type { SchemaTypes } from '../graphql/builder.ts';
import { Backoff, getRegistrant, getScript, Script } from './script/graphql.ts';
import type { Backoff as BackoffName } from './script/model.ts';

/** What sets scripts off by itself, as somebody registered it: the same of triggers and routes. */
interface Registered {
  script_id: string;
  retry_backoff: BackoffName;
  retry_base_ms: number;
  registered_by_principal: string;
  scopes: ScopeName[];
}

/** The fields that say so. */
export function registeredFields<Row extends Registered>(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, Row>) {
  return {
    script: t.field({
      type: Script,
      description: 'What it runs.',
      resolve: (row, _args, context) => getScript(context, row.script_id),
    }),
    retryBackoff: t.field({
      type: Backoff,
      description: 'How long to wait between attempts.',
      resolve: (row) => row.retry_backoff,
    }),
    retryBaseMs: t.int({
      description: 'How long to wait after the first failure, in milliseconds.',
      resolve: (row) => row.retry_base_ms,
    }),
    registeredBy: t.field({
      type: Principal,
      description: 'Who registered it: its script runs as this principal.',
      resolve: (row, _args, context) => getRegistrant(context, row.registered_by_principal),
    }),
    scopes: t.field({
      type: [Scope],
      description: 'Those of the token that registered it: with no more its script runs.',
      resolve: (row) => row.scopes,
    }),
  };
}
