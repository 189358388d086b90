import graphql from '@graphql-eslint/eslint-plugin'

// Every rule of schema-recommended and schema-relay holds but for these exceptions.
export default [
  {
    files: ['**/*.graphqls'],
    languageOptions: { parser: graphql.parser, parserOptions: { graphQLConfig: { schema: 'schema.graphqls' } } },
    plugins: { '@graphql-eslint': graphql },
    rules: {
      ...graphql.configs['flat/schema-recommended'].rules,
      ...graphql.configs['flat/schema-relay'].rules,

      // A description of one line stands in quotes, a longer one is a block: both mean the same.
      '@graphql-eslint/description-style': 'off',

      // An id is for what can be fetched again: Patient and ContactUpdate, the Nodes. The others
      // are values of a Patient, parts of an answer, or there is but one of them.
      '@graphql-eslint/strict-id-in-types': ['error', {
        exceptions: {
          types: [
            'Viewer', 'Mirror', // one for each caller, one in all
            'Address', 'EmergencyContact', 'LinkedContact', // values
            'PatientConnection', 'PatientEdge', 'PageInfo', // Relay's own
            'UpdatePatientContactSuccess', 'UpdatePatientProfileSuccess', 'InvalidInput', 'FieldError', 'NotPermitted',
            'PatientNotFound', 'UpdateConflict', 'FhirRejected', 'FhirIssue', 'FhirUnavailable', // how a mutation ended
          ],
        },
      }],

      // Lists of values (lines of an address, allergies, issues) have no edges; and nodes is beside
      // edges for who needs no cursor of each patient.
      '@graphql-eslint/relay-edge-types': ['error', { withEdgeSuffix: true, shouldImplementNode: true, listTypeCanWrapOnlyEdgeType: false }],
    },
  },
]
