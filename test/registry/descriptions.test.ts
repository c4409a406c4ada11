import { type GraphQLNamedType, isEnumType, isInputObjectType, isInterfaceType, isObjectType } from 'graphql';
import { expect, test } from 'vitest';
import { schema } from '../../src/graphql/schema.ts';

type Described = readonly [name: string, description: string | null | undefined];

/** Everything of a type that GraphiQL shows. */
function partsOf(type: GraphQLNamedType): Described[] {
  if (isEnumType(type)) return type.getValues().map((value) => [`${type.name}.${value.name}`, value.description]);
  if (isInputObjectType(type)) {
    return Object.values(type.getFields()).map((field) => [`${type.name}.${field.name}`, field.description]);
  }
  if (!isObjectType(type) && !isInterfaceType(type)) return [];
  return Object.values(type.getFields()).flatMap((field): Described[] => [
    [`${type.name}.${field.name}`, field.description],
    ...field.args.map((argument): Described => [`${type.name}.${field.name}(${argument.name})`, argument.description]),
  ]);
}

test('every type, field, argument, input field and enum value of the API is described', () => {
  const bare = Object.values(schema.getTypeMap())
    .filter((type) => !type.name.startsWith('__'))
    .flatMap((type): Described[] => [[type.name, type.description], ...partsOf(type)])
    .filter(([, description]) => (description ?? '').trim() === '')
    .map(([name]) => name);
  expect(bare).toEqual([]);
});
