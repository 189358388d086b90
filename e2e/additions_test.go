package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// withAddress is a server that changes the first address of what it stores.
func withAddress(t *testing.T, change func(entry, before gjson.Result) map[string]any) fhirsim.Fault {
	return fhirsim.Fault{On: http.MethodPut, Store: func(old, new []byte) []byte {
		for part, value := range change(gjson.GetBytes(new, "address.0"), gjson.GetBytes(old, "address.0")) {
			changed, err := sjson.SetBytes(new, "address.0."+part, value)
			if err != nil {
				t.Error(err)
			}
			new = changed
		}
		return new
	}}
}

// A server that writes the text of an address itself, and a country that nobody gave,
// has stored what was asked. So it is each time, with its text there already.
func TestAServerAddsToAnAddress(t *testing.T) {
	t.Parallel()
	OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		s := StartSystem(t, databaseURL)
		s.FHIR.SetFault("", withAddress(t, func(entry, _ gjson.Result) map[string]any {
			text := strings.ToUpper(entry.Get("postalCode").Str + " " + entry.Get("city").Str + ", " + entry.Get("line.0").Str + ", Norway")
			return map[string]any{"country": "Norway", "text": text}
		}))
		answer := s.Update(Object{"patientId": Number, "address": Object{"lines": []string{"Strandgaten 201"}, "city": "Bergen", "postalCode": "5004"}})
		Want(t, answer, Object{
			"__typename": "UpdatePatientContactSuccess", "normalized": []string{"address"}, "patient.address.lines": []string{"Strandgaten 201"},
			"patient.address.text": "5004 BERGEN, STRANDGATEN 201, NORWAY", "patient.address.country": "Norway",
		})
		Want(t, s.ContactUpdate(answer["operationId"]), Object{"state": "APPLIED", "result.normalized": []string{"address"}})
		Want(t, s.Patient(Number), Object{"address.city": "Bergen", "address.country": "Norway", "syncState": "SYNCED"})
		again := s.Update(Object{"patientId": Number, "address": Object{"lines": []string{"Torget 1"}, "city": "Oslo", "postalCode": "0154", "country": "Norway"}})
		Want(t, again, Object{
			"__typename": "UpdatePatientContactSuccess", "normalized": []string{"address"}, "patient.address.text": "0154 OSLO, TORGET 1, NORWAY",
		})
	})
}

// What was to go away and is there all the same is not applied: a part of the old
// address, its text.
func TestAServerKeepsOfAnAddress(t *testing.T) {
	t.Parallel()
	for name, keeps := range map[string]func(entry, before gjson.Result) map[string]any{
		"a second line": func(entry, _ gjson.Result) map[string]any {
			return map[string]any{"line": []string{entry.Get("line.0").Str, "Apt 4"}}
		},
		"the country": func(_, before gjson.Result) map[string]any {
			return map[string]any{"country": before.Get("country").Str}
		},
		"a text of another place": func(_, _ gjson.Result) map[string]any {
			return map[string]any{"text": "1 Main St, Seoul"}
		},
		"a district": func(_, _ gjson.Result) map[string]any { return map[string]any{"district": "Vestland"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := StartSystem(t, dbtest.SQLite(t))
			s.FHIR.SetFault("", withAddress(t, keeps))
			answer := s.Update(Object{"patientId": Number, "phone": NewPhone, "address": Object{"lines": []string{"Strandgaten 201"}, "city": "Bergen", "postalCode": "5004"}})
			Want(t, answer, Object{"__typename": "FhirRejected", "code": "FHIR_NOT_APPLIED", "patient.phone": NewPhone})
			Want(t, s.Patient(Number), Object{"phone": NewPhone, "address.city": "Bergen"})
			if issues := answer["issues"].([]any); len(issues) != 1 || issues[0].(map[string]any)["field"].([]any)[0] != "address" {
				t.Errorf("issues %v", issues)
			}
		})
	}
}
