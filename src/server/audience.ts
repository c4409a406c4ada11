import { type DocumentNode, type GraphQLSchema, getNamedType, TypeInfo, visit, visitWithTypeInfo } from 'graphql';
import type { Viewer } from '../auth/context.ts';

const personal = new WeakMap<DocumentNode, boolean>();

/**
 * Who sees the same answer to the same document: everybody with the same scopes, unless the document asks for a field
 * that row-level security answers differently for each (its extension `personal`); then each principal is an audience.
 */
export function audienceOf(schema: GraphQLSchema, document: DocumentNode, viewer: Viewer): string {
  const scopes = [...viewer.scopes].sort().join(',');
  let isPersonal = personal.get(document);
  if (isPersonal === undefined) {
    isPersonal = asksForPersonal(schema, document);
    personal.set(document, isPersonal);
  }
  return isPersonal ? `${scopes} ${viewer.principalId} ${viewer.spaceIds.join(',')}` : scopes;
}

function asksForPersonal(schema: GraphQLSchema, document: DocumentNode): boolean {
  const info = new TypeInfo(schema);
  let found = false;
  visit(
    document,
    visitWithTypeInfo(info, {
      Field: () => {
        const field = info.getFieldDef();
        const type = field === null || field === undefined ? null : getNamedType(field.type);
        if (field?.extensions.personal === true || type?.extensions.personal === true) found = true;
      },
    }),
  );
  return found;
}
