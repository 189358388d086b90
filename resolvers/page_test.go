package resolvers

import (
	"testing"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// TestWhoMaySeeNothingSearchesNothing: how long a search takes would tell how
// common a name is.
func TestWhoMaySeeNothingSearchesNothing(t *testing.T) {
	t.Parallel()
	name, phone := "홍", "010-1111-2222"
	filter := &graph.PatientFilter{Name: &name, Phone: &phone}
	for _, v := range []auth.Viewer{{}, {Role: "janitor", PatientID: "P-1"}, {Role: auth.RolePatient}} {
		r, err := pageRequest(v, filter, nil, nil, nil, nil, nil)
		if err != nil || r.Filter != (db.Filter{None: true}) {
			t.Errorf("%+v searches for %+v (%v)", v, r.Filter, err)
		}
	}
	r, err := pageRequest(auth.Viewer{Role: auth.RolePatient, PatientID: "P-1"}, filter, nil, nil, nil, nil, nil)
	if err != nil || r.Filter != (db.Filter{ID: "P-1", Name: name, Phone: phone}) {
		t.Errorf("a patient searches for %+v (%v)", r.Filter, err)
	}
}
