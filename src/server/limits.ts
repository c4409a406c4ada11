import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isListType,
  isNullableType,
  type OperationDefinitionNode,
  type ParseOptions,
  parse,
  type SelectionSetNode,
  type Source,
  type ValueNode,
  valueFromASTUntyped,
} from 'graphql';
import { type PageSizes, usualSizes } from '../graphql/connection.ts';
import { limitExceeded } from './errors.ts';

/**
 * What an operation may cost, decided before it runs and on every transport alike. Each fragment is looked at once, so a
 * document whose fragments spread each other a million times over costs no more to judge than to send.
 *
 * Our own, because the libraries for it either bring a second graphql-js or price a page by what stands in the document
 * and not by the variables that come with it.
 */
export interface Limits {
  depth: number;
  cost: number;
  aliases: number;
  tokens: number;
}

/** Parses within the limits that need no schema, so that validation never sees a document that is too large for it. */
export function parseWithin(limits: Limits): (source: string | Source, options?: ParseOptions) => DocumentNode {
  return (source, options) => {
    let document: DocumentNode;
    try {
      document = parse(source, { ...options, maxTokens: limits.tokens });
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('Syntax Error: Document contains more than')) {
        throw limitExceeded(`The document has more than ${limits.tokens} tokens, which is the limit: split it.`);
      }
      throw error;
    }
    const { depth, aliases } = measure(document);
    if (depth > limits.depth) {
      throw limitExceeded(
        `The document nests ${depth} levels deep and the limit is ${limits.depth}: ask for less at once.`,
      );
    }
    if (aliases > limits.aliases) {
      throw limitExceeded(`The document has ${aliases} aliases and the limit is ${limits.aliases}: split it.`);
    }
    return document;
  };
}

/** Why an operation costs too much to be run; null: it does not. */
export function findTooDear(limits: Limits, operation: Parameters<typeof costOf>[0]): string | null {
  const cost = costOf(operation);
  return cost <= limits.cost
    ? null
    : `The operation costs ${cost} and the limit is ${limits.cost}: ask for smaller pages or fewer fields.`;
}

export function fragmentsOf(document: DocumentNode): Map<string, FragmentDefinitionNode> {
  return new Map(
    document.definitions.flatMap((node) =>
      node.kind === 'FragmentDefinition' ? [[node.name.value, node] as const] : [],
    ),
  );
}

function measure(document: DocumentNode): { depth: number; aliases: number } {
  const fragments = fragmentsOf(document);
  const known = new Map<string, number>();
  let aliases = 0;

  function depthOf(set: SelectionSetNode): number {
    return Math.max(
      0,
      ...set.selections.map((selection) => {
        if (selection.kind === 'FragmentSpread') return depthOfFragment(selection.name.value);
        if (selection.kind === 'InlineFragment') return depthOf(selection.selectionSet);
        if (selection.alias !== undefined) aliases += 1;
        // Introspection answers from memory, and graphql-js bounds its depth itself.
        if (selection.name.value.startsWith('__')) return 1;
        return 1 + (selection.selectionSet === undefined ? 0 : depthOf(selection.selectionSet));
      }),
    );
  }

  function depthOfFragment(name: string): number {
    const depth = known.get(name);
    if (depth !== undefined) return depth;
    // Also for one that contains itself, which validation refuses afterwards.
    known.set(name, 0);
    const fragment = fragments.get(name);
    const found = fragment === undefined ? 0 : depthOf(fragment.selectionSet);
    known.set(name, found);
    return found;
  }

  let depth = 0;
  for (const node of document.definitions) {
    if (node.kind === 'OperationDefinition') depth = Math.max(depth, depthOf(node.selectionSet));
  }
  return { depth, aliases };
}

/** How many items a list without a page size is taken to have. */
const usualListSize = 10;

/**
 * The cost of a validated operation: each field counts 1, times the sizes of the lists around it.
 * @param variables as they came, by name
 */
export function costOf(options: {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  variables: Readonly<Record<string, unknown>>;
}): number {
  const { schema, operation } = options;
  const fragments = fragmentsOf(options.document);
  const known = new Map<string, number>();
  const defaults = new Map(
    operation.variableDefinitions?.map((definition) => [definition.variable.name.value, definition.defaultValue]),
  );

  function literalOf(node: ValueNode | undefined): unknown {
    if (node?.kind === 'IntValue') return Number(node.value);
    if (node?.kind === 'ListValue') return node.values;
    if (node?.kind !== 'Variable') return undefined;
    const given = options.variables[node.name.value];
    return given === undefined ? literalOf(defaults.get(node.name.value) as ValueNode | undefined) : given;
  }

  /** A mutation's payload has at most an item for each that it was given. */
  function itemsGiven(node: FieldNode): number {
    const input = node.arguments?.find((given) => given.name.value === 'input')?.value;
    return input === undefined ? 0 : longestList(valueFromASTUntyped(input, options.variables));
  }

  function sizeOf(field: GraphQLField<unknown, unknown>, node: FieldNode): number {
    const sizes = (field.extensions.page as PageSizes | undefined) ?? usualSizes;
    const argument = (name: string) => literalOf(node.arguments?.find((given) => given.name.value === name)?.value);
    for (const name of ['first', 'last']) {
      const size = argument(name);
      // What is out of range is refused by the resolver; here it must only not overflow.
      if (typeof size === 'number' && size > 0) return Math.min(size, sizes.most);
    }
    const ids = argument('ids');
    if (Array.isArray(ids)) return ids.length;
    if (field.args.some((known) => known.name === 'first')) return sizes.usual;
    return 0;
  }

  /** @param listSize how many items a list without a page size is taken to have here */
  function cost(set: SelectionSetNode, typeName: string, paged: boolean, listSize: number): number {
    const type = schema.getType(typeName);
    let sum = 0;
    for (const selection of set.selections) {
      if (selection.kind === 'Field') {
        sum += fieldCost(selection, type, paged, listSize);
      } else if (selection.kind === 'InlineFragment') {
        sum += cost(selection.selectionSet, selection.typeCondition?.name.value ?? typeName, paged, listSize);
      } else {
        sum += fragmentCost(selection.name.value, paged, listSize);
      }
    }
    return sum;
  }

  function fieldCost(node: FieldNode, parent: unknown, paged: boolean, listSize: number): number {
    if (node.name.value.startsWith('__')) return 1;
    const hasFields = parent as { getFields?: () => Record<string, GraphQLField<unknown, unknown>> } | undefined;
    const field = hasFields?.getFields?.()[node.name.value];
    if (field === undefined) return 1;
    const given = parent === mutationType ? itemsGiven(node) : 0;
    if (node.selectionSet === undefined) return 1 + given;
    const named = getNamedType(field.type);
    const nullable = isNullableType(field.type) ? field.type : field.type.ofType;
    const size = sizeOf(field, node);
    const connection = isPage(field, named.name);
    // Within a page its size has been counted already, where it was asked for.
    const items = connection ? size : isListType(nullable) && !paged ? size || listSize : 1;
    const inner = given > 0 ? given : usualListSize;
    return 1 + given + Math.max(items, 1) * cost(node.selectionSet, named.name, connection, inner);
  }

  function fragmentCost(name: string, paged: boolean, listSize: number): number {
    const key = `${paged}:${listSize}:${name}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const fragment = fragments.get(name);
    const made =
      fragment === undefined ? 0 : cost(fragment.selectionSet, fragment.typeCondition.name.value, paged, listSize);
    known.set(key, made);
    return made;
  }

  const mutationType = schema.getMutationType();
  const root = schema.getRootType(operation.operation)?.name ?? '';
  return cost(operation.selectionSet, root, false, usualListSize);
}

/** What it holds is as many as was asked for, whatever list they are in. */
function isPage({ extensions }: GraphQLField<unknown, unknown>, typeName: string): boolean {
  return typeName.endsWith('Connection') || extensions.page !== undefined;
}

/** The length of the longest list within a value, other than within its JSON. */
function longestList(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  if (typeof value !== 'object' || value === null) return 0;
  return Math.max(0, ...Object.values(value).map((inner) => (Array.isArray(inner) ? inner.length : 0)));
}
