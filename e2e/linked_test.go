package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/db/dbtest"
)

const linkedQuery = `query($id: ID!) { contactUpdate(operationId: $id) { operationId patientId kind state settledAt result { __typename }
	localContact { phone email address { text lines city } } } }`

// A LOCAL_ONLY patient that the FHIR server has by now shows the server's contact. The
// local one is for admins to read, under the operationId in the log, and for nobody else.
func TestTheContactOfALinkedPatientIsForAdminsToRead(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		update := s.Update(Object{"patientId": LocalNumber, "phone": "02-555-0199", "email": "old@EXAMPLE.org", "address": Object{"lines": []string{"7 Side St"}, "city": "Busan"}})
		Want(t, update, Object{"__typename": "UpdatePatientContactSuccess"})
		said, err := s.Import(databaseURL, PatientJSON("a2", LocalNumber))
		if err != nil {
			t.Fatal(err)
		}
		Want(t, s.Patient(LocalNumber), Object{"fhirId": "a2", "phone": OldPhone, "email": "old@example.org", "syncState": "SYNCED"})
		found := regexp.MustCompile(`"patient":"` + LocalNumber + `","operation":"([^"]+)","fields":\["phone","address"\]`).FindStringSubmatch(said)
		if found == nil || strings.Contains(said, "555") || strings.Contains(said, "Busan") {
			t.Fatalf("the log says %s", said)
		}
		asked := func(c *Client) Object { return c.Query(linkedQuery, Object{"id": found[1]}) }
		Want(t, asked(s.Client), Object{
			"contactUpdate.operationId": found[1], "contactUpdate.patientId": LocalNumber, "contactUpdate.kind": "LINKED", "contactUpdate.state": "APPLIED", "contactUpdate.result": nil,
			"contactUpdate.localContact.phone": "02-555-0199", "contactUpdate.localContact.email": nil, "contactUpdate.localContact.address.lines": []string{"7 Side St"},
		})
		for _, role := range auth.Roles() {
			patient := ""
			if role == string(auth.RolePatient) {
				patient = LocalNumber
			}
			if role != string(auth.RoleAdmin) {
				Want(t, asked(s.As(Token(t, auth.Role(role), patient))), Object{"contactUpdate": nil})
			}
		}
		scoped := TokenOf(t, Object{"role": "admin", "sub": "s", "scope": "user/Patient.write"})
		Want(t, asked(s.As(scoped)), Object{"contactUpdate": nil})
		// The local write is an update as before.
		Want(t, s.Query(linkedQuery, Object{"id": update["operationId"]}), Object{
			"contactUpdate.kind": "UPDATE", "contactUpdate.localContact": nil, "contactUpdate.result.__typename": "UpdatePatientContactSuccess"})
		// And the patient is written on the FHIR server from now on.
		if err := s.FHIR.Put([]byte(PatientJSON("a2", LocalNumber))); err != nil {
			t.Fatal(err)
		}
		Want(t, s.Update(Object{"patientId": LocalNumber, "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess", "patient.syncState": "SYNCED"})
		Want(t, asked(s.Client), Object{"contactUpdate.localContact.phone": "02-555-0199"})
	})
}

// What is recorded here alone is found with the survivor after the merge, as HAPI's
// $merge tells it; with the merged record is what the survivor had already.
func TestWhatIsRecordedHereFollowsAMerge(t *testing.T) {
	t.Parallel()
	line := func(id, number, updated, rest string) string {
		return `{"resourceType":"Patient","id":"` + id + `","meta":{"lastUpdated":"` + updated + `"},"identifier":[{"system":"` + numberSystem + `","value":"` + number + `"}]` + rest + `}`
	}
	link := func(kind, reference string) string {
		return `,"link":[{"type":"` + kind + `","other":{"reference":"` + reference + `"}}]`
	}
	const d1, d2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	cases := map[string][]string{
		"both tell it":                           {line("src", "S-1", d2, `,"active":false`+link("replaced-by", "Patient/tgt")), line("tgt", "T-1", d2, link("replaces", "Patient/src"))},
		"the survivor alone, of one who is gone": {line("tgt", "T-1", d2, link("replaces", "Patient/src"))},
		"by the URL of our own server":           {line("src", "S-1", d2, link("replaced-by", "BASE/Patient/tgt"))},
		"the survivor, by such a URL":            {line("tgt", "T-1", d2, link("replaces", "BASE/Patient/src/_history/4"))},
	}
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		mustIn(t, databaseURL, line("src", "S-1", d1, ""), line("tgt", "T-1", d1, ""))
		database := dbtest.Open(t, databaseURL)
		const base = "http://127.0.0.1:1/fhir"
		p := StartWith(t, base, databaseURL, "PATIENT_ID_SYSTEM="+numberSystem)
		profile := func(number string, input Object) {
			t.Helper()
			input["patientId"] = number
			Want(t, p.Query(`mutation($i: UpdatePatientProfileInput!) { updatePatientProfile(input: $i) { __typename } }`, Object{"i": input}), Object{"updatePatientProfile.__typename": "UpdatePatientProfileSuccess"})
		}
		for name, lines := range cases {
			mustIn(t, databaseURL, line("src", "S-1", d1, ""), line("tgt", "T-1", d1, ""))
			profile("S-1", Object{"allergies": []string{"latex"}, "bloodType": "AB-", "emergencyContact": Object{"name": "Ola", "phone": "1"}})
			profile("T-1", Object{"bloodType": "O+", "allergies": nil, "emergencyContact": nil})
			before := p.Patient("T-1")["version"]
			text := strings.ReplaceAll(strings.Join(lines, "\n"), "BASE", base)
			said, err := Import(t, databaseURL, text, "PATIENT_ID_SYSTEM="+numberSystem, "FHIR_BASE_URL="+base)
			if err != nil {
				t.Fatal(err)
			}
			Want(t, p.Patient("T-1"), Object{"allergies": []string{"latex"}, "bloodType": "O+", "emergencyContact.name": "Ola", "replacedBy": nil})
			Want(t, p.Patient("S-1"), Object{"allergies": nil, "bloodType": "AB-", "emergencyContact": nil})
			if p.Patient("T-1")["version"] == before {
				t.Errorf("%s: the version stays", name)
			}
			for _, want := range []string{`"survivor":"T-1","fields":["emergencyContact","allergies"]`, `"survivor":"T-1","fields":["bloodType"]`} {
				if strings.Count(said, want) != 1 {
					t.Errorf("%s: the log lacks %s: %s", name, want, said)
				}
			}
			if strings.Contains(said, "latex") || strings.Contains(said, "AB-") || strings.Contains(said, "Ola") {
				t.Errorf("%s: values are in the log: %s", name, said)
			}
			for _, table := range []string{"patient_merges", "patient_identifiers", "patients"} { // for the next case
				if _, err := database.Exec("DELETE FROM " + table); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
