package e2e_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	. "patientgraph/app/apptest"
	"patientgraph/db/dbtest"
	"patientgraph/fhir/fhirsim"
)

// TestANeighboursColumnSurvives: OpenEMR knows no versions, so what another client stores
// between our read and our PUT must not be in our body, whichever field is ours.
func TestANeighboursColumnSurvives(t *testing.T) {
	t.Parallel()
	ours := map[string]struct {
		input   Object
		columns fhirsim.Columns
	}{
		"phone":        {Object{"phone": "802-555-0199"}, fhirsim.Columns{"phone_cell": "802-555-0199"}},
		"email":        {Object{"email": "p@new.example"}, fhirsim.Columns{"email": "p@new.example"}},
		"address":      {Object{"address": Object{"lines": []string{"9 Elm St"}, "city": "Stowe", "state": "VT", "postalCode": "05672"}}, fhirsim.Columns{"street": "9 Elm St", "city": "Stowe", "state": "VT", "postal_code": "05672"}},
		"no email":     {Object{"email": nil, "idempotencyKey": "k"}, fhirsim.Columns{"email": ""}},
		"phone, email": {Object{"phone": "802-555-0199", "email": "p@new.example"}, fhirsim.Columns{"phone_cell": "802-555-0199", "email": "p@new.example"}},
	}
	neighbours := fhirsim.Columns{
		"phone_home": "802-555-0100", "phone_cell": "802-555-0101", "phone_biz": "802-555-0102", "email": "n@new.example", "email_direct": "d@new.example",
		"street": "1 Birch St", "city": "Barton", "postal_code": "05822", "street_line_2": "Apt 9", "country_code": "US",
		"fname": "Pál", "lname": "Möller", "occupation": "Baker", "pubpid": "3100",
	}
	// Set by somebody else, these are shown as the email and with the address.
	others := []string{"email_direct", "street_line_2", "country_code"}
	for name, own := range ours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for version, hides := range map[string]bool{"7.0.3": false, "8.1.1-dev": false, "8.0.0": true} {
				s := startOpenEMR(t, dbtest.SQLite(t), version, nil)
				theirs := maps.Clone(neighbours)
				maps.DeleteFunc(theirs, func(column, _ string) bool {
					_, is := own.columns[column]
					return is || !hides && slices.Contains(others, column)
				})
				was := s.columns()
				rival := func(r *http.Request) {
					if r.Method == http.MethodPut {
						for column, value := range theirs {
							s.FHIR.Clinic().Set(openEMRID, column, value)
						}
					}
				}
				s.before.Store(&rival)
				input := maps.Clone(own.input)
				input["patientId"] = openEMRNumber
				answer := s.Update(input)
				if !hides {
					Want(t, answer, Object{"__typename": "UpdatePatientContactSuccess"})
				}
				want := maps.Clone(theirs)
				maps.Copy(want, own.columns)
				maps.DeleteFunc(want, func(column, value string) bool { return was[column] == value })
				is := s.columns()
				maps.DeleteFunc(is, func(column, value string) bool { return was[column] == value })
				if !maps.Equal(is, want) {
					t.Errorf("%s: changed %q, want %q (%v)", version, is, want, answer)
				}
			}
		})
	}
}
