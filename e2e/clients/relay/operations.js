// Relay has its own rules for names, so these are ../operations once more; besides,
// a fragment that fetches itself again by node(id), and a connection.
const { graphql } = require('relay-runtime')

graphql`
  fragment operations_contact on Patient {
    id
    fullName
    birthDate
    phone
    email
    address {
      text
      lines
      city
    }
    syncState
    version
    updatedAt
  }
`

exports.refetched = graphql`
  fragment operations_refetched on Patient @refetchable(queryName: "operationsRefetchQuery") {
    phone
  }
`

exports.Patient = graphql`
  query operationsPatientQuery($id: ID!) {
    patient(id: $id) {
      ...operations_contact @relay(mask: false)
      ...operations_refetched
    }
  }
`

exports.Patients = graphql`
  query operationsPatientsQuery($filter: PatientFilter, $first: Int, $after: String) {
    patients(filter: $filter, first: $first, after: $after) @connection(key: "operations_patients") {
      edges {
        node {
          ...operations_contact @relay(mask: false)
        }
      }
      pageInfo {
        hasNextPage
      }
    }
  }
`

exports.ContactUpdate = graphql`
  query operationsContactUpdateQuery($operationId: ID!) {
    contactUpdate(operationId: $operationId) {
      id
      state
      result {
        __typename
        ... on UserError {
          message
          code
          retryable
        }
      }
    }
  }
`

exports.Node = graphql`
  query operationsNodeQuery($id: ID!) {
    node(id: $id) {
      id
      ... on Patient {
        phone
      }
      ... on ContactUpdate {
        state
      }
    }
  }
`

exports.UpdateContact = graphql`
  mutation operationsUpdateContactMutation($input: UpdatePatientContactInput!) {
    updatePatientContact(input: $input) {
      __typename
      ... on UserError {
        message
        code
        retryable
      }
      ... on UpdatePatientContactSuccess {
        operationId
        normalized
        patient {
          ...operations_contact @relay(mask: false)
        }
      }
      ... on InvalidInput {
        fieldErrors {
          field
          message
          rule
        }
      }
      ... on UpdateConflict {
        operationId
        conflictingFields
        current {
          ...operations_contact @relay(mask: false)
        }
      }
      ... on FhirRejected {
        operationId
        detail
        httpStatus
        patient {
          ...operations_contact @relay(mask: false)
        }
        issues {
          severity
          message
          field
        }
      }
      ... on FhirUnavailable {
        operationId
        detail
        applied
        retryAfterSeconds
        patient {
          ...operations_contact @relay(mask: false)
        }
      }
    }
  }
`

exports.PatientChanged = graphql`
  subscription operationsPatientChangedSubscription($id: ID!) {
    patientChanged(id: $id) {
      ...operations_contact @relay(mask: false)
    }
  }
`

exports.ContactUpdateSettled = graphql`
  subscription operationsContactUpdateSettledSubscription($operationId: ID!) {
    contactUpdateSettled(operationId: $operationId) {
      state
      result {
        __typename
        ... on UserError {
          message
          code
          retryable
        }
      }
    }
  }
`
