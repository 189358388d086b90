package resolvers

import (
	"reflect"
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
	for _, v := range []auth.Viewer{{}, {Role: "janitor", PatientIDs: []string{"P-1"}}, {Role: auth.RolePatient}} {
		r, err := pageRequest(v, filter, nil, nil, nil, nil, nil)
		if err != nil || !reflect.DeepEqual(r.Filter, db.Filter{None: true}) {
			t.Errorf("%+v searches for %+v (%v)", v, r.Filter, err)
		}
	}
	for _, ids := range [][]string{{"P-1"}, {"P-1", "P-2"}} {
		r, err := pageRequest(auth.Viewer{Role: auth.RolePatient, PatientIDs: ids}, filter, nil, nil, nil, nil, nil)
		if err != nil || !reflect.DeepEqual(r.Filter, db.Filter{IDs: ids, Name: name, Phone: phone}) {
			t.Errorf("a viewer of %v searches for %+v (%v)", ids, r.Filter, err)
		}
	}
}
