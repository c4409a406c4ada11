import { type DocumentNode, type ExecutionArgs, getOperationAST, print, visit } from 'graphql';
import { beginningArguments } from '../../graphql/live.ts';
import { audienceOf } from '../audience.ts';
import type { ServerContext } from '../plugins.ts';

interface Described {
  text: string;
  /** By the operation's name: the variables that say where to begin, and nothing else. */
  beginningVariables: Map<string | null, readonly string[]>;
}

const texts = new WeakMap<DocumentNode, Described>();

/** What two subscriptions must have in common to share one execution. */
export function keyOf(args: ExecutionArgs): string {
  const { viewer } = args.contextValue as ServerContext;
  const { text, beginning } = describe(args.document, args.operationName ?? null);
  const variables = Object.entries((args.variableValues ?? {}) as Record<string, unknown>).filter(
    ([name]) => !beginning.includes(name),
  );
  return JSON.stringify([audienceOf(args.schema, args.document, viewer), args.operationName ?? null, text, variables]);
}

function describe(
  document: DocumentNode,
  operationName: string | null,
): { text: string; beginning: readonly string[] } {
  let described = texts.get(document);
  if (described === undefined) {
    described = { text: print(document), beginningVariables: new Map() };
    texts.set(document, described);
  }
  let beginning = described.beginningVariables.get(operationName);
  if (beginning === undefined) {
    beginning = findBeginningVariables(document, operationName);
    described.beginningVariables.set(operationName, beginning);
  }
  return { text: described.text, beginning };
}

function findBeginningVariables(document: DocumentNode, operationName: string | null): string[] {
  const operation = getOperationAST(document, operationName);
  const uses = new Map<string, number>();
  visit(document, {
    VariableDefinition: () => false,
    Variable: (node) => void uses.set(node.name.value, (uses.get(node.name.value) ?? 0) + 1),
  });
  return (operation?.selectionSet.selections ?? []).flatMap((selection) => {
    if (selection.kind !== 'Field') return [];
    return (selection.arguments ?? []).flatMap(({ name, value }) => {
      const isOne = beginningArguments.includes(name.value) && value.kind === 'Variable';
      return isOne && uses.get(value.name.value) === 1 ? [value.name.value] : [];
    });
  });
}
