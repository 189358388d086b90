package apptest

import "patientgraph/internal/wait"

// ContactMutation makes the update $input.
const ContactMutation = `mutation($input: UpdatePatientContactInput!) { updatePatientContact(input: $input) {
  __typename
  ... on UpdatePatientContactSuccess { operationId normalized patient { id phone email address { text lines city district state postalCode country } syncState lastSyncedAt version } }
  ... on UserError { message code retryable }
  ... on InvalidInput { fieldErrors { field message rule } }
  ... on FhirRejected { operationId patient { id phone email syncState version } detail httpStatus issues { severity code message expression field } }
  ... on FhirUnavailable { operationId patient { id phone email syncState version } detail applied retryAfterSeconds }
  ... on UpdateConflict { operationId conflictingFields current { id phone email version } } } }`

const updateQuery = `query($id: ID!) { contactUpdate(operationId: $id) { operationId patientId state requestedAt settledAt
  result { __typename ... on UpdatePatientContactSuccess { normalized patient { phone email } } ... on FhirRejected { patient { phone email syncState } }
    ... on FhirUnavailable { applied patient { phone email syncState } } ... on UserError { code } } } }`

// TryUpdate makes one contact update and returns its answer, a member of the union.
// The errors are those of Call.
func (c *Client) TryUpdate(input Object) (Object, error) {
	c.T.Helper()
	data, err := c.Call(ContactMutation, Object{"input": input})
	answer, _ := data["updatePatientContact"].(map[string]any)
	return answer, err
}

// Update is TryUpdate for what must be answered. It fails the test without ending it:
// callers may run in goroutines of their own.
func (c *Client) Update(input Object) Object {
	c.T.Helper()
	answer, err := c.TryUpdate(input)
	if err != nil {
		c.T.Error(err)
		return Object{}
	}
	return answer
}

// ContactUpdate asks how an update ended; nil when there is none to see.
func (c *Client) ContactUpdate(operationID any) Object {
	c.T.Helper()
	found, _ := c.Query(updateQuery, Object{"id": operationID})["contactUpdate"].(map[string]any)
	return found
}

// Settled waits until an update is settled and returns how it ended.
func (c *Client) Settled(operationID any) (update Object) {
	c.T.Helper()
	wait.Until(c.T, "an update is settled", func() bool {
		data, err := c.Call(updateQuery, Object{"id": operationID})
		update, _ = data["contactUpdate"].(map[string]any)
		return err == nil && update["state"] != "PENDING"
	})
	return update
}
