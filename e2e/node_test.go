package e2e_test

import (
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
)

// node asks for a node as Relay's refetch does; nil: there is none for this client.
func node(c *Client, id any) Object {
	c.T.Helper()
	found, _ := c.Query(`query($id: ID!) { node(id: $id) { __typename id
		... on Patient { phone version } ... on ContactUpdate { operationId patientId state result { __typename } } } }`, Object{"id": id})["node"].(map[string]any)
	return found
}

func TestANodeIsFoundByTheIDThatItHas(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		told := s.Update(Object{"patientId": Number, "phone": NewPhone})
		Want(t, node(s.Client, Number), Object{"__typename": "Patient", "id": Number, "phone": NewPhone})
		update := s.Query(`query($id: ID!) { contactUpdate(operationId: $id) { id operationId } }`, Object{"id": told["operationId"]})
		id := update.At("contactUpdate", "id")
		Want(t, node(s.Client, id), Object{"__typename": "ContactUpdate", "id": id, "operationId": told["operationId"],
			"patientId": Number, "state": "APPLIED", "result.__typename": "UpdatePatientContactSuccess"})
	})
}

func TestANodeThatTheViewerMayNotSeeIsNull(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		operation := s.Update(Object{"patientId": Number, "phone": NewPhone})["operationId"]
		own, other, janitor := s.As(Token(t, auth.RolePatient, Number)), s.As(Token(t, auth.RolePatient, LocalNumber)), s.As(TokenOf(t, Object{"role": "janitor"}))
		Want(t, node(own, Number), Object{"id": Number})
		for name, none := range map[string]Object{
			"another patient's record":  node(other, Number),
			"another caller's update":   node(own, operation),
			"a record, for nobody":      node(janitor, Number),
			"an update, for nobody":     node(janitor, operation),
			"an update, for an analyst": node(s.As(Token(t, auth.RoleAnalyst, "")), operation),
			"a number that nobody has":  node(s.Client, "P-1999-000001"),
			"an update that is none":    node(s.Client, "00000000-0000-7000-8000-000000000000"),
			"no id":                     node(s.Client, ""),
			"a long id":                 node(s.Client, strings.Repeat("x", 10_000)),
			"a number with blanks":      node(s.Client, " "+Number+" "),
			"an id in capitals":         node(s.Client, strings.ToLower(Number)),
		} {
			if none != nil {
				t.Errorf("%s: %v", name, none)
			}
		}
	})
}

// What node finds has the id that was asked for: a store that keeps records by their id
// would lose another.
func TestAFormerNumberFindsNoNode(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		if _, err := dbtest.Open(t, databaseURL).Exec(`INSERT INTO patient_identifiers (patient_id, kind, value, system_key, value_key) VALUES ($1, 'FORMER', 'F-1', '', 'f-1')`, Number); err != nil {
			t.Fatal(err)
		}
		Want(t, s.Patient("F-1"), Object{"id": Number})
		if found := node(s.Client, "F-1"); found != nil {
			t.Errorf("%v", found)
		}
	})
}

// A hospital may number its patients by UUIDs, as our contact updates are named.
func TestAPatientWhoseNumberIsAUUIDIsANode(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.SQLite(t)
	const number = "018f3c1e-6f6e-7f0c-9a55-6a8f6c1f5a01"
	MustImport(t, databaseURL, PatientJSON("u1", number))
	p := StartWith(t, "http://127.0.0.1:1/fhir", databaseURL)
	Want(t, node(p.Client, number), Object{"__typename": "Patient", "id": number})
}
