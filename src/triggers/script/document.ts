import {
  type DocumentNode,
  type FieldNode,
  GraphQLError,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse as parseAny,
  TypeInfo,
  validate,
  visit,
  visitWithTypeInfo,
} from 'graphql';

/**
 * Documents of scripts: one query or mutation each. A mutation is also asked what it refused, whether its author thought of
 * that or not: else a script that was refused everything would pass for one that did its work.
 */
export interface Documents {
  /** Why a text cannot be a script's document; null: it can. */
  check(text: string): string | null;
  /** @throws GraphQLError when the text cannot be a script's document, for instance not any longer */
  compile(text: string): CompiledDocument;
}

export interface CompiledDocument {
  document: DocumentNode;
  operation: OperationDefinitionNode;
}

/** Under which name each mutation of a script says what it refused. */
export const refusedField = 'treelineUserErrors';

const mostCompiled = 500;

/** @param parse parses within the gateway's limits */
export function createDocuments(schema: GraphQLSchema, parse: (text: string) => DocumentNode): Documents {
  // The oldest goes first: as often as not nobody runs it any more.
  const compiled = new Map<string, CompiledDocument>();

  function compile(text: string): CompiledDocument {
    const known = compiled.get(text);
    if (known !== undefined) return known;
    const document = parse(text);
    const [problem] = validate(schema, document, undefined, { maxErrors: 1 });
    if (problem !== undefined) throw problem;
    const made = { document: askingWhatWasRefused(document, schema), operation: onlyOperation(document) };
    for (const oldest of compiled.keys()) {
      if (compiled.size < mostCompiled) break;
      compiled.delete(oldest);
    }
    compiled.set(text, made);
    return made;
  }

  return {
    compile,
    check(text) {
      try {
        compile(text);
        return null;
      } catch (error) {
        if (error instanceof GraphQLError) return placed(error);
        throw error;
      }
    },
  };
}

function onlyOperation(document: DocumentNode): OperationDefinitionNode {
  const operations = document.definitions.filter((node) => node.kind === Kind.OPERATION_DEFINITION);
  const [operation] = operations;
  if (operation === undefined || operations.length > 1) {
    throw new GraphQLError(`Expected one operation, got ${operations.length}: a script is one query or mutation.`);
  }
  if (operation.operation === 'subscription') {
    throw new GraphQLError('Expected a query or a mutation, got a subscription: a trigger is what follows changes.');
  }
  return operation;
}

function placed(error: GraphQLError): string {
  const [place] = error.locations ?? [];
  return place === undefined ? error.message : `${error.message} (line ${place.line}, column ${place.column})`;
}

const refusedSelection = parseAny(`{ ${refusedField}: userErrors { code message } }`, { noLocation: true });

function askingWhatWasRefused(document: DocumentNode, schema: GraphQLSchema): DocumentNode {
  const mutation = schema.getMutationType();
  const info = new TypeInfo(schema);
  const [asked] = refusedSelection.definitions;
  const selections = asked?.kind === Kind.OPERATION_DEFINITION ? asked.selectionSet.selections : [];
  return visit(
    document,
    visitWithTypeInfo(info, {
      Field: {
        leave(node: FieldNode): FieldNode | undefined {
          if (node.alias?.value === refusedField) {
            throw new GraphQLError(
              `Expected another alias than ${refusedField}: scripts are asked by it what was refused.`,
              {
                nodes: node,
              },
            );
          }
          const answered = getNamedType(info.getType());
          const isRefusing = info.getParentType() === mutation && isObjectType(answered);
          if (!isRefusing || node.selectionSet === undefined || !('userErrors' in answered.getFields()))
            return undefined;
          const all = [...node.selectionSet.selections, ...selections];
          return { ...node, selectionSet: { ...node.selectionSet, selections: all } };
        },
      },
    }),
  );
}
