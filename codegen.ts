import type { CodegenConfig } from '@graphql-codegen/cli';

/** Typed documents for the command line, the reporter and the tests, from the printed schema: `npm run generate`. */
const config: CodegenConfig = {
  schema: 'schema.graphql',
  documents: ['src/cli/**/*.ts', 'src/reporter/**/*.ts', 'src/sync/client/**/*.ts', 'test/**/*.ts'],
  generates: {
    'src/client/generated/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: 'string',
        // Node strips types and nothing else: an enum would need compiling.
        enumsAsTypes: true,
        useTypeImports: true,
        importExtension: '.ts',
        emitLegacyCommonJSImports: false,
        scalars: {
          DateTime: 'string',
          UUID: 'string',
          JSON: 'unknown',
          GitObjectID: 'string',
          Cursor: 'string',
          BigInt: 'string',
        },
        strictScalars: true,
      },
    },
  },
};

export default config;
