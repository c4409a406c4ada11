import {
  defaultFieldResolver,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  isInterfaceType,
  isObjectType,
} from 'graphql';
import './scalars.ts';
import '../auth/graphql.ts';
import '../feed/graphql.ts';
import '../registry/host/graphql.ts';
import '../registry/worktree-type/graphql.ts';
import '../registry/project/graphql.ts';
import '../registry/project/mutations.ts';
import '../registry/project/subscriptions.ts';
import '../registry/worktree/graphql.ts';
import '../registry/worktree/queries.ts';
import '../registry/worktree/mutations.ts';
import '../registry/worktree/subscriptions.ts';
import '../registry/claim/graphql.ts';
import '../registry/claim/subscriptions.ts';
import '../registry/activity/graphql.ts';
import '../registry/activity/subscriptions.ts';
import '../registry/maintenance/graphql.ts';
import '../chat/message/graphql.ts';
import '../chat/message/subscriptions.ts';
import '../chat/snapshot/graphql.ts';
import '../sync/change/graphql.ts';
import '../sync/change/subscriptions.ts';
import '../sync/record/graphql.ts';
import '../sync/version/graphql.ts';
import '../mirror/graphql.ts';
import '../mirror/subscriptions.ts';
import '../triggers/script/graphql.ts';
import '../triggers/script/mutations.ts';
import '../triggers/route/graphql.ts';
import '../triggers/trigger/graphql.ts';
import '../triggers/trigger/mutations.ts';
import '../triggers/execution/graphql.ts';
import '../triggers/execution/subscriptions.ts';
import '../triggers/outbox/graphql.ts';
import '../triggers/dead-letter/graphql.ts';
import '../triggers/dead-letter/mutations.ts';
import '../triggers/dead-letter/subscriptions.ts';
import { type RequestContext, requireScope } from '../auth/context.ts';
import { operations } from '../auth/operations.ts';
import type { Scope } from '../auth/scopes.ts';
import { RequestError } from '../kernel/errors.ts';
import { decodeId, encodeId } from '../kernel/ids.ts';
import { builder } from './builder.ts';

/** The whole API. Each import above adds an entity; a new one is added here and nowhere else. */
export const schema: GraphQLSchema = withPlainIds(withKnownNodes(guarded(builder.toSchema({ sortSchema: true }))));

/**
 * Puts each field that the table of operations names behind its scope, before its resolver runs. A root field that is not
 * in the table is a defect that shows at start, not a hole.
 */
function guarded(unguarded: GraphQLSchema): GraphQLSchema {
  for (const root of [unguarded.getQueryType(), unguarded.getMutationType(), unguarded.getSubscriptionType()]) {
    const named = operations[root?.name as keyof typeof operations];
    for (const name of Object.keys(root?.getFields() ?? {})) {
      if (!(name in named)) throw new Error(`${root?.name}.${name} has no scope in the table of operations`);
    }
  }
  for (const [typeName, fields] of Object.entries(operations)) {
    const type = unguarded.getType(typeName);
    for (const [name, scope] of Object.entries<Scope | null>(fields)) {
      const field = isObjectType(type) ? type.getFields()[name] : undefined;
      if (field === undefined) throw new Error(`${typeName}.${name}, of the table of operations, is no field`);
      if (scope !== null) guard(field, scope);
    }
  }
  return unguarded;
}

function guard(field: GraphQLField<unknown, RequestContext>, scope: Scope): void {
  const way = field.subscribe === undefined ? 'resolve' : 'subscribe';
  const inner = field[way] ?? defaultFieldResolver;
  field[way] = (source, args, context: RequestContext, info) => {
    requireScope(context.viewer, scope);
    return inner(source, args, context, info);
  };
}

/** An id of something that is no node was never given out: the relay plugin would take it for a defect of ours. */
function withKnownNodes(schema: GraphQLSchema): GraphQLSchema {
  const { node, nodes } = schema.getQueryType()?.getFields() ?? {};
  const names = new Set(nodeTypes(schema).map(({ name }) => name));
  for (const field of [node, nodes]) {
    if (field?.resolve === undefined) throw new Error('the schema has no fields node and nodes');
    const inner = field.resolve;
    field.resolve = (source, args: { id?: string; ids?: readonly string[] }, context, info) => {
      for (const id of args.ids ?? [args.id ?? '']) {
        if (!names.has(decodeId(id).typename))
          throw new RequestError('BAD_USER_INPUT', `Nothing has the id ${JSON.stringify(id)}.`);
      }
      return inner(source, args, context, info);
    };
  }
  return schema;
}

function nodeTypes(schema: GraphQLSchema): readonly GraphQLObjectType[] {
  const node = schema.getType('Node');
  if (!isInterfaceType(node)) throw new Error('the schema has no interface Node');
  return schema.getPossibleTypes(node);
}

/**
 * Ids are made without a promise. The relay plugin's own resolver is async, and a promise in a field makes its object, its
 * list and the whole page asynchronous: on a page of 50 worktrees that took longer than everything else together.
 */
function withPlainIds(schema: GraphQLSchema): GraphQLSchema {
  for (const type of nodeTypes(schema)) {
    const { id } = type.getFields();
    if (id !== undefined) id.resolve = (row: { id: string }) => encodeId(type.name, row.id);
  }
  return schema;
}
