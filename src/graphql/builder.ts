import SchemaBuilder from '@pothos/core';
import RelayPlugin from '@pothos/plugin-relay';
import type { RequestContext } from '../auth/context.ts';
import { decodeId, encodeId } from '../kernel/ids.ts';
import type { Json } from '../kernel/json.ts';

interface BuilderTypes {
  Context: RequestContext;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: { list: false; items: false };
  DefaultNodeNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: string; Output: string };
    UUID: { Input: string; Output: string };
    JSON: { Input: Json; Output: unknown };
    GitObjectID: { Input: string; Output: string };
    Cursor: { Input: string; Output: string };
    BigInt: { Input: string; Output: string | number };
  };
}

/**
 * The one schema builder. Each entity's `graphql.ts` adds its own types and fields to it; `schema.ts` only imports them.
 * Everything that Relay's conventions bring is described here, because GraphiQL shows it like any other field.
 */
export const builder = new SchemaBuilder<BuilderTypes>({
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: {
    clientMutationId: 'omit',
    cursorType: 'String',
    nodesOnConnection: { description: 'The items of this page, without their cursors.' },
    encodeGlobalID: (typename, id) => encodeId(typename, String(id)),
    decodeGlobalID: decodeId,
    idFieldOptions: { description: 'Opaque and stable; `node` finds the same thing again by it.' },
    nodeTypeOptions: { description: 'Anything that can be found again by its `id` alone.' },
    nodeQueryOptions: {
      nullable: true,
      description: 'Whatever has this id; null when there is no such thing, or none that the caller may see.',
      args: { id: { description: 'An `id` that this API gave out.' } },
    },
    nodesQueryOptions: {
      nullable: { list: false, items: true },
      description: 'Several by id, in the order asked for, with null where `node` would answer null. At most 100.',
      args: { ids: { description: '`id`s that this API gave out.' } },
    },
    pageInfoTypeOptions: { description: 'Where a page lies in its list, and how to go on from it.' },
    hasNextPageFieldOptions: { description: 'Whether more follows after `endCursor`.', nullable: false },
    hasPreviousPageFieldOptions: { description: 'Whether more lies before `startCursor`.', nullable: false },
    startCursorFieldOptions: { description: 'Give it as `before` for the page before; null on an empty page.' },
    endCursorFieldOptions: { description: 'Give it as `after` for the page after; null on an empty page.' },
    cursorFieldOptions: { description: 'Opaque place of this item in its list, for `after` and `before`.' },
    nodeFieldOptions: { description: 'The item itself.', nullable: false },
    edgesFieldOptions: {
      description: 'The items of this page with their cursors.',
      nullable: { list: false, items: false },
    },
    pageInfoFieldOptions: { description: 'Where this page lies in the whole list.' },
    firstArgOptions: { description: 'How many from the start, or after `after`: 1 to 100, 20 by default.' },
    afterArgOptions: { description: 'Only what follows this cursor.' },
    lastArgOptions: { description: 'How many from the end, or before `before`: 1 to 100.' },
    beforeArgOptions: { description: 'Only what lies before this cursor.' },
    defaultEdgeTypeOptions: { description: 'An item of a page with its cursor.' },
    defaultConnectionTypeOptions: { description: 'One page of a list.' },
  },
});

/** The builder's types with every default filled in: what helpers that take a field builder are written against. */
export type SchemaTypes = typeof builder extends PothosSchemaTypes.SchemaBuilder<infer Types> ? Types : never;

builder.queryType({ description: 'Everything that can be read. Each root field says which scope it needs.' });
builder.mutationType({
  description:
    'Everything that can be changed. What the caller can mend comes back in `userErrors`; a request that is wrong in itself (syntax, limits, identity) is a GraphQL error with `extensions.code`.',
});
builder.subscriptionType({ description: 'Everything that can be watched live.' });
