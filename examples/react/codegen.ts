import type { CodegenConfig } from '@graphql-codegen/cli'

export default {
  schema: '../../schema.graphqls',
  documents: 'src/operations/*.graphql',
  generates: {
    // Documents are objects already: the page parses no GraphQL.
    'src/generated/operations.ts': {
      plugins: ['typescript-operations', 'typed-document-node'],
      config: {
        useTypeImports: true,
        enumsAsTypes: true,
        scalars: { DateTime: 'string', PartialDate: 'string', ID: 'string' },
        dedupeFragments: true,
      },
    },
    'src/generated/possibleTypes.ts': { plugins: ['fragment-matcher'], config: { useExplicitTyping: true } },
  },
} satisfies CodegenConfig
