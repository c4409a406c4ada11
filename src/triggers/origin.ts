import { Principal, principalLoader } from '../auth/principal/graphql.ts';
import type { SchemaTypes } from '../graphql/builder.ts';
import { Project, projectLoader } from '../registry/project/graphql.ts';
import type { SourceKind as Source } from './outbox/model.ts';
import { Route, routeLoader } from './route/graphql.ts';
import { SourceKind, Trigger, triggerLoader } from './trigger/graphql.ts';

/** What set a script off, and as whom it runs: the same of what waits, of each attempt, and of what failed for good. */
interface Originated {
  source_kind: Source;
  /** The trigger's; of http, the route's; of replay, of either. */
  trigger_id: string | null;
  principal_id: string;
  project_id: string | null;
}

/** The fields that say so. */
export function originFields<Row extends Originated>(t: PothosSchemaTypes.ObjectFieldBuilder<SchemaTypes, Row>) {
  return {
    sourceKind: t.field({ type: SourceKind, description: 'What set it off.', resolve: (row) => row.source_kind }),
    trigger: t.field({
      type: Trigger,
      nullable: true,
      description: 'The trigger that set it off; null when none did, or it was deleted.',
      resolve: ({ source_kind: source, trigger_id: id }, _args, context) =>
        id === null || source === 'http' ? null : triggerLoader(context).load(id),
    }),
    route: t.field({
      type: Route,
      nullable: true,
      description: 'The route that was called; null when none was, or it was deleted.',
      resolve: ({ source_kind: source, trigger_id: id }, _args, context) =>
        id !== null && (source === 'http' || source === 'replay') ? routeLoader(context).load(id) : null,
    }),
    principal: t.field({
      type: Principal,
      nullable: true,
      description: 'As whom it runs; null once that principal is gone.',
      resolve: (row, _args, context) => principalLoader(context).load(row.principal_id),
    }),
    project: t.field({
      type: Project,
      nullable: true,
      description: 'Its project; null: it is of the whole registry. Scope registry:read.',
      resolve: ({ project_id: id }, _args, context) => (id === null ? null : projectLoader(context).load(id)),
    }),
  };
}
