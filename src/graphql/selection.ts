import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLObjectType,
  type GraphQLResolveInfo,
  getArgumentValues,
  type SelectionNode,
} from 'graphql';

/**
 * What a query selects below the field being resolved, so that a page can fetch its items' relations in the same
 * statement. Fields under `@skip` or `@include` count as selected: fetching a little too much is harmless.
 */
export interface Selected {
  node: FieldNode;
  /** The field's arguments with variables filled in; null when they cannot be read, which execution will report. */
  args(type: GraphQLObjectType): Record<string, unknown> | null;
  /** The fields selected on what it answers, by name. */
  below(): Map<string, Selected[]>;
  /** The fields selected on the items of the connection that it answers, by name. */
  belowNodes(): Map<string, Selected[]>;
}

/** Which columns the fields of a type read. */
export interface FieldColumns<Column extends string> {
  /** Keys, and what tells the type from others. */
  always: readonly Column[];
  byField: Readonly<Record<string, readonly Column[]>>;
}

/** The columns to fetch: those that are always needed, and those that the selected fields read. */
export function selectedColumns<Column extends string>(
  selected: ReadonlyMap<string, Selected[]>,
  columns: FieldColumns<Column>,
): Column[] {
  const wanted = new Set(columns.always);
  for (const field of selected.keys()) for (const column of columns.byField[field] ?? []) wanted.add(column);
  return [...wanted];
}

/** The fields selected on the items of a connection, under `nodes` and `edges { node }`, by name. */
export function selectedOnNodes(info: GraphQLResolveInfo): Map<string, Selected[]> {
  return onNodes(info.fieldNodes, info);
}

function onNodes(parents: readonly FieldNode[], info: GraphQLResolveInfo): Map<string, Selected[]> {
  const direct = fieldsOf(parents, info, 'nodes');
  const throughEdges = fieldsOf(fieldsOf(parents, info, 'edges'), info, 'node');
  return byName([...direct, ...throughEdges], info);
}

/** The fields selected on the item that the field itself answers. */
export function selectedOn(info: GraphQLResolveInfo): Map<string, Selected[]> {
  return byName(info.fieldNodes, info);
}

function byName(parents: readonly FieldNode[], info: GraphQLResolveInfo): Map<string, Selected[]> {
  const selected = new Map<string, Selected[]>();
  for (const parent of parents) {
    for (const node of childrenOf(parent.selectionSet?.selections ?? [], info.fragments)) {
      const list = selected.get(node.name.value) ?? [];
      list.push({
        node,
        args: (type) => readArguments(type, node, info),
        below: () => byName([node], info),
        belowNodes: () => onNodes([node], info),
      });
      selected.set(node.name.value, list);
    }
  }
  return selected;
}

function fieldsOf(parents: readonly FieldNode[], info: GraphQLResolveInfo, name: string): FieldNode[] {
  return parents.flatMap((parent) =>
    childrenOf(parent.selectionSet?.selections ?? [], info.fragments).filter((node) => node.name.value === name),
  );
}

/** Validation has ruled out fragments that contain themselves; the limits have bounded how many there are. */
function childrenOf(
  selections: readonly SelectionNode[],
  fragments: Readonly<Record<string, FragmentDefinitionNode>>,
): FieldNode[] {
  return selections.flatMap((selection) => {
    if (selection.kind === 'Field') return [selection];
    const set =
      selection.kind === 'InlineFragment' ? selection.selectionSet : fragments[selection.name.value]?.selectionSet;
    return childrenOf(set?.selections ?? [], fragments);
  });
}

function readArguments(
  type: GraphQLObjectType,
  node: FieldNode,
  info: GraphQLResolveInfo,
): Record<string, unknown> | null {
  const field = type.getFields()[node.name.value];
  if (field === undefined) return null;
  try {
    return getArgumentValues(field, node, info.variableValues as never);
  } catch {
    return null;
  }
}
