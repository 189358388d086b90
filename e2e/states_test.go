package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/auth"
	"patientgraph/fhir/fhirsim"
)

// records reads the resources of a file, one a line or printed.
func records(t *testing.T, name string) (list []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/states/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
		var resource json.RawMessage
		if err := d.Decode(&resource); err != nil {
			t.Fatal(err)
		}
		list = append(list, string(resource))
	}
	return list
}

// startHolding starts a FHIR server with these patients, imports them as it has them,
// and starts the product.
func startHolding(t *testing.T, databaseURL string, patients ...string) (s *System, base string) {
	t.Helper()
	server, base := StartFHIR(t, fhirsim.Options{}, patients...)
	s = &System{FHIR: server}
	importStored(t, s, databaseURL)
	s.Product = StartWith(t, base, databaseURL, "PATIENT_ID_SYSTEM="+numberSystem)
	return s, base
}

// importStored imports what the FHIR server has now.
func importStored(t *testing.T, s *System, databaseURL string) {
	t.Helper()
	var lines []string
	for _, id := range s.FHIR.IDs() {
		stored, _, _ := s.FHIR.Get(id)
		lines = append(lines, string(stored))
	}
	if out, err := Import(t, databaseURL, strings.Join(lines, "\n"), "PATIENT_ID_SYSTEM="+numberSystem); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
}

// put has the FHIR server store a patient, changed so; each pair is a text and what
// stands in its place.
func put(t *testing.T, s *System, resource string, changes ...string) {
	t.Helper()
	changed := strings.NewReplacer(changes...).Replace(resource)
	if len(changes) > 0 && changed == resource {
		t.Fatalf("nothing of %s is changed", resource)
	}
	if err := s.FHIR.Put([]byte(changed)); err != nil {
		t.Fatal(err)
	}
}

// listedWith returns the numbers in a list, and checks that totalCount agrees.
func listedWith(c *Client, filter Object) []string {
	c.T.Helper()
	list := c.Query(`query($f: PatientFilter) { patients(filter: $f) { totalCount nodes { id } } }`, Object{"f": filter})
	numbers := []string{}
	for _, node := range list.At("patients", "nodes").([]any) {
		numbers = append(numbers, node.(map[string]any)["id"].(string))
	}
	slices.Sort(numbers)
	Want(c.T, list, Object{"patients.totalCount": len(numbers)})
	return numbers
}

func wantListed(c *Client, filter Object, want ...string) {
	c.T.Helper()
	if got := listedWith(c, filter); !slices.Equal(got, want) {
		c.T.Errorf("%v lists %v, want %v", filter, got, want)
	}
}

// wantRefused asks for a new phone and checks that it was refused without a PUT.
func wantRefused(s *System, number, code, message string) {
	s.T.Helper()
	puts := s.Puts()
	answer := s.Update(Object{"patientId": number, "phone": NewPhone})
	Want(s.T, answer, Object{
		"__typename": "FhirRejected", "code": code, "message": message, "retryable": false, "httpStatus": nil, "issues": []any{},
	})
	if n := s.Puts() - puts; n != 0 {
		s.T.Errorf("%d PUTs", n)
	}
	Want(s.T, s.ContactUpdate(answer["operationId"]), Object{"state": "REJECTED", "result.code": code})
}

// TestAMergedRecordIsNotWritten: nothing is sent, the answer names the record that is
// left, and lists hold that one alone.
func TestAMergedRecordIsNotWritten(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s, _ := startHolding(t, databaseURL, records(t, "merged.ndjson")...)
		wantRefused(s, "88-0977", "FHIR_PATIENT_REPLACED", "this record was merged into another: change 88-1203")
		Want(t, s.Patient("88-0977"), Object{
			"phone": "030 555 0199", "replacedBy": "88-1203", "active": false, "deceased": false, "syncState": "SYNCED",
		})
		Want(t, s.Patient("88-1203"), Object{"replacedBy": nil, "active": true})
		for _, filter := range []Object{{}, {"name": "bakker"}, {"gender": "FEMALE"}, {"birthDate": "1990"}, {"includeInactive": false}, {"includeInactive": nil}} {
			wantListed(s.Client, filter, "88-1203")
		}
		wantListed(s.Client, Object{"includeInactive": true}, "88-0977", "88-1203")
		wantListed(s.Client, Object{"includeInactive": true, "name": "bakker"}, "88-0977", "88-1203")
		Want(t, s.Update(Object{"patientId": "88-1203", "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		// The very values that are there are refused as well.
		Want(t, s.Update(Object{"patientId": "88-0977", "phone": "030 555 0199"}), Object{"code": "FHIR_PATIENT_REPLACED"})
		// A write tells which record to change, to who may read it.
		mayOnlyWrite := s.As(TokenOf(t, Object{"role": "admin", "sub": "app", "scope": "user/Patient.u"}))
		Want(t, mayOnlyWrite.Update(Object{"patientId": "88-0977", "phone": NewPhone}), Object{"message": "this record was merged into another"})
	})
}

// TestARecordThatWasMergedMeanwhile: the cache does not know yet, and follows.
func TestARecordThatWasMergedMeanwhile(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		lines := records(t, "merged.ndjson")
		before := strings.NewReplacer(`"active": false, `, "", `"link"`, `"unused"`).Replace(lines[1])
		s, _ := startHolding(t, databaseURL, lines[0], before)
		wantListed(s.Client, Object{}, "88-0977", "88-1203")
		Want(t, s.Patient("88-0977"), Object{"replacedBy": nil, "active": true})
		put(t, s, lines[1], `"030 555 0199"`, `"030 555 0200"`)
		wantRefused(s, "88-0977", "FHIR_PATIENT_REPLACED", "this record was merged into another: change 88-1203")
		Want(t, s.Patient("88-0977"), Object{"replacedBy": "88-1203", "active": false, "phone": "030 555 0200", "syncState": "SYNCED"})
		wantListed(s.Client, Object{}, "88-1203")
		s.WantLog("FHIR validation failed for patient 88-0977: this record was merged into another")
		// The merge is undone.
		put(t, s, before)
		Want(t, s.Update(Object{"patientId": "88-0977", "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		Want(t, s.Patient("88-0977"), Object{"replacedBy": nil, "active": true, "phone": NewPhone})
		wantListed(s.Client, Object{}, "88-0977", "88-1203")
		// An import tells it too.
		put(t, s, lines[1])
		importStored(t, s, databaseURL)
		Want(t, s.Patient("88-0977"), Object{"replacedBy": "88-1203"})
		wantListed(s.Client, Object{}, "88-1203")
	})
}

// TestAMergeThatLeadsNowhere: it is one all the same, be the link to another server,
// in a circle, or to nobody; a chain is followed to its end.
func TestAMergeThatLeadsNowhere(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		merged := func(id, number, other string) string {
			return `{"resourceType":"Patient","id":"` + id + `","identifier":[{"system":"urn:oid:2.999.7.1","value":"` + number + `"}],` +
				`"link":[{"type":"replaced-by","other":` + other + `}],"telecom":[{"system":"phone","value":"1"}]}`
		}
		s, base := startHolding(t, databaseURL,
			merged("a", "A", `{"reference":"Patient/b/_history/2"}`), merged("b", "B", `{"reference":"Patient/c"}`),
			merged("c", "C", `{"identifier":{"system":"urn:oid:2.999.7.1","value":"E"}}`),
			merged("d", "D", `{"reference":"Patient/e"}`), `{"resourceType":"Patient","id":"e","identifier":[{"system":"urn:oid:2.999.7.1","value":"E"}]}`,
			merged("x", "X", `{"reference":"Patient/y"}`), merged("y", "Y", `{"reference":"Patient/x"}`),
			merged("f", "F", `{"reference":"https://other.example/fhir/Patient/e"}`), merged("g", "G", `{"reference":"Patient/unknown"}`))
		for number, survivor := range map[string]any{"A": nil, "B": nil, "C": nil, "D": "E", "E": nil, "X": nil, "Y": nil, "F": nil, "G": nil} {
			Want(t, s.Patient(number), Object{"id": number, "replacedBy": survivor, "active": true})
			switch survivor {
			case nil:
				if number != "E" {
					wantRefused(s, number, "FHIR_PATIENT_REPLACED", "this record was merged into another")
				}
			default:
				wantRefused(s, number, "FHIR_PATIENT_REPLACED", "this record was merged into another: change E")
			}
		}
		wantListed(s.Client, Object{}, "E")
		// The end of a chain, by its URL on our own server.
		put(t, s, merged("c", "C", `{"reference":"`+base+`/Patient/e"}`))
		importStored(t, s, databaseURL)
		Want(t, s.Patient("A"), Object{"replacedBy": "E"})
	})
}

// TestAnInactiveRecordIsNotWritten: also where the server shows the values already.
func TestAnInactiveRecordIsNotWritten(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		record := records(t, "inactive.json")[0]
		active := strings.NewReplacer(`"wolff-11"`, `"wolff-12"`, `"88-4410"`, `"88-4411"`, `"active": false,`, "").Replace(record)
		s, _ := startHolding(t, databaseURL, record, active)
		wantRefused(s, "88-4410", "FHIR_PATIENT_INACTIVE", "this record is not active")
		Want(t, s.Update(Object{"patientId": "88-4410", "phone": "0221 555 870"}), Object{"code": "FHIR_PATIENT_INACTIVE"})
		Want(t, s.Patient("88-4410"), Object{"active": false, "replacedBy": nil, "phone": "0221 555 870", "syncState": "SYNCED"})
		Want(t, s.Patient("88-4411"), Object{"active": true})
		wantListed(s.Client, Object{}, "88-4411")
		wantListed(s.Client, Object{"includeInactive": true}, "88-4410", "88-4411")
		// Its own record a patient sees by itself, and in a list that asks for it.
		patient := s.As(Token(t, auth.RolePatient, "88-4410"))
		Want(t, patient.Patient("88-4410"), Object{"active": false, "familyName": "Wolff"})
		wantListed(patient, Object{})
		wantListed(patient, Object{"includeInactive": true}, "88-4410")
		// FHIR has the last word: the cache says inactive, FHIR no more.
		put(t, s, record, `"active": false`, `"active": true`)
		Want(t, s.Update(Object{"patientId": "88-4410", "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
		Want(t, s.Patient("88-4410"), Object{"active": true, "phone": NewPhone})
		// And the other way round; of a record that is both, that it was merged.
		put(t, s, active, `"gender"`, `"active": false, "gender"`)
		wantRefused(s, "88-4411", "FHIR_PATIENT_INACTIVE", "this record is not active")
		put(t, s, active, `"gender"`, `"active": false, "link": [{"type": "replaced-by", "other": {"reference": "Patient/wolff-11"}}], "gender"`)
		wantRefused(s, "88-4411", "FHIR_PATIENT_REPLACED", "this record was merged into another: change 88-4410")
	})
}

// TestARefusalIsRememberedUnderItsKey: until the record is in use again nothing else
// would come of it, and a new request tries anew.
func TestARefusalIsRememberedUnderItsKey(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s, _ := startHolding(t, databaseURL, records(t, "merged.ndjson")...)
		input := Object{"patientId": "88-0977", "phone": NewPhone, "idempotencyKey": "k"}
		first := s.Update(input)
		Want(t, s.Update(input), Object{"operationId": first["operationId"], "code": "FHIR_PATIENT_REPLACED", "message": first["message"]})
	})
}

// TestAnInactiveRecordOfTheCacheAloneIsNotWritten: a patient without a FHIR id.
func TestAnInactiveRecordOfTheCacheAloneIsNotWritten(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		local := strings.Replace(PatientJSON("", "L-1"), `"id":"",`, `"active":false,`, 1)
		MustImport(t, databaseURL, local)
		Want(t, s.Update(Object{"patientId": "L-1", "phone": NewPhone}), Object{
			"__typename": "FhirRejected", "code": "FHIR_PATIENT_INACTIVE", "message": "this record is not active", "retryable": false, "httpStatus": nil,
		})
		Want(t, s.Patient("L-1"), Object{"active": false, "phone": OldPhone, "syncState": "LOCAL_ONLY"})
	})
}

// TestTheDeadStayInLists.
func TestTheDeadStayInLists(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		dead := func(id, how string) string {
			return `{"resourceType":"Patient","id":"` + id + `","identifier":[{"system":"urn:oid:2.999.7.1","value":"` + id + `"}],` + how + `}`
		}
		s, _ := startHolding(t, databaseURL, dead("a", `"deceasedBoolean":true`), dead("b", `"deceasedDateTime":"2019-04"`), dead("c", `"deceasedBoolean":false`))
		wantListed(s.Client, Object{}, "a", "b", "c")
		for number, want := range map[string]bool{"a": true, "b": true, "c": false} {
			Want(t, s.Patient(number), Object{"deceased": want, "active": true})
			Want(t, s.As(Token(t, auth.RoleAnalyst, "")).Patient(number), Object{"deceased": want, "active": true, "replacedBy": nil})
		}
		// A death ends no address: the next of kin must be reached.
		Want(t, s.Update(Object{"patientId": "b", "phone": NewPhone}), Object{"__typename": "UpdatePatientContactSuccess"})
	})
}

// TestNothingRecordedIsNotNone: of a patient whom nobody edited here the emergency
// contact is FHIR's and allergies are null; nothing of it is sent there.
func TestNothingRecordedIsNotNone(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		record := records(t, "nothing-recorded.ndjson")[0]
		s, _ := startHolding(t, databaseURL, strings.Replace(record, `"gender"`, `"identifier":[{"system":"urn:oid:2.999.7.1","value":"24"}],"gender"`, 1))
		fhirs := Object{"name": "Teresa Faria", "relationship": "vizinha", "phone": "+351 96 000 7788", "source": "FHIR"}
		Want(t, s.Patient("24"), Object{"allergies": nil, "bloodType": nil, "emergencyContact": fhirs})
		profile := func(input Object) {
			t.Helper()
			input["patientId"] = "24"
			Want(t, updateProfile(s.Client, input), Object{"__typename": "UpdatePatientProfileSuccess"})
		}
		profile(Object{"emergencyContact": Object{"name": "Rui Costa", "phone": "1"}})
		Want(t, s.Patient("24"), Object{"allergies": nil, "emergencyContact": Object{"name": "Rui Costa", "relationship": nil, "phone": "1", "source": "LOCAL"}})
		profile(Object{"allergies": []string{}})
		Want(t, s.Patient("24"), Object{"allergies": []string{}, "emergencyContact.source": "LOCAL"})
		profile(Object{"emergencyContact": nil})
		Want(t, s.Patient("24"), Object{"allergies": []string{}, "emergencyContact": fhirs})
		profile(Object{"allergies": []string{"latex"}})
		Want(t, s.Patient("24"), Object{"allergies": []string{"latex"}})
		profile(Object{"allergies": nil})
		Want(t, s.Patient("24"), Object{"allergies": nil})
		for _, r := range s.FHIR.Requests() {
			if r.Method != http.MethodGet {
				t.Errorf("%s %s", r.Method, r.Path)
			}
		}
		analyst := s.As(Token(t, auth.RoleAnalyst, ""))
		Want(t, analyst.Patient("24"), Object{"emergencyContact": nil, "allergies": nil})
		// What FHIR says now is shown after the next look.
		stored, _, _ := s.FHIR.Get("costa-24")
		put(t, s, string(stored), "7788", "9900")
		importStored(t, s, databaseURL)
		Want(t, s.Patient("24"), Object{"emergencyContact.phone": "+351 96 000 9900"})
	})
}
