package resolvers

import (
	"context"
	"fmt"
	"testing"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// asked is a store that remembers whose records it was asked about; P-1 has the
// alias old-1.
type asked struct {
	Store
	of []string
}

func (a *asked) Patient(_ context.Context, id string, _ ...db.Column) (*db.Patient, error) {
	a.of = append(a.of, id)
	return nil, db.ErrNotFound
}

func (a *asked) AliasesOf(_ context.Context, numbers []string) (map[string]string, error) {
	a.of = append(a.of, numbers...)
	return map[string]string{"old-1": "P-1"}, nil
}

// Of an id that is not the viewer's own nothing is looked up: the time that it takes
// would tell whether somebody has it, or had it.
func TestOthersNumbersAreNotLookedUp(t *testing.T) {
	t.Parallel()
	for _, v := range []auth.Viewer{{}, {Role: "janitor", PatientIDs: []string{"P-1"}}, {Role: auth.RolePatient}, {Role: auth.RolePatient, PatientIDs: []string{"P-1"}}} {
		own := ""
		if v.Role == auth.RolePatient && len(v.PatientIDs) > 0 {
			own = "P-1"
		}
		for _, id := range []string{"P-2", "old-2", "", "p-1"} {
			s := &asked{}
			r, ctx := &Resolver{Store: s}, auth.WithViewer(t.Context(), v)
			if p, err := r.visiblePatient(ctx, v, id, nil); p != nil || err != nil {
				t.Errorf("%+v reads %q: %+v, %v", v, id, p, err)
			}
			result, err := (&mutationResolver{r}).UpdatePatientContact(ctx, graph.UpdatePatientContactInput{PatientID: id})
			if _, refused := result.(*graph.NotPermitted); !refused || err != nil {
				t.Errorf("%+v writes %q: %+v, %v", v, id, result, err)
			}
			profile, err := (&mutationResolver{r}).UpdatePatientProfile(ctx, graph.UpdatePatientProfileInput{PatientID: id})
			if _, refused := profile.(*graph.NotPermitted); !refused || err != nil {
				t.Errorf("%+v writes the profile of %q: %+v, %v", v, id, profile, err)
			}
			for _, of := range s.of {
				if of != own {
					t.Errorf("%+v, who asks for %q, has %q looked up", v, id, of)
				}
			}
		}
		number, err := (&Resolver{Store: &asked{}}).ownNumber(t.Context(), v, "old-1", v.MayRead)
		if want := map[bool]string{true: "P-1", false: "old-1"}[own != ""]; number != want || err != nil {
			t.Errorf("%s means %s (%v), want %s", fmt.Sprintf("%+v", v), number, err, want)
		}
	}
}

// moved is a store in which the number S-A has become s2's.
type moved struct{ Store }

func (moved) Patient(context.Context, string, ...db.Column) (*db.Patient, error) {
	return &db.Patient{ID: "S-A", FHIRID: "s2"}, nil
}

// A token that names FHIR ids means these patients, whoever has their numbers since
// they were looked up.
func TestWhoHasTheNumberByNow(t *testing.T) {
	t.Parallel()
	r := &Resolver{Store: moved{}}
	for _, c := range []struct {
		v    auth.Viewer
		want string
	}{
		{auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"s1"}, FHIRIDs: []string{"s1"}, PatientIDs: []string{"S-A"}}, nobody},
		{auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"s1", "s2"}, FHIRIDs: []string{"s1", "s2"}, PatientIDs: []string{"S-A", "S-B"}}, "s2"},
		{auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"S-A"}, PatientIDs: []string{"S-A"}}, "s2"},
		{auth.Viewer{Role: auth.RoleAdmin, PatientClaim: []string{"s1"}, FHIRIDs: []string{"s1"}}, "s2"},
	} {
		if number, fhirID, err := r.recordOf(t.Context(), c.v, "S-A"); number != "S-A" || fhirID != c.want || err != nil {
			t.Errorf("%+v means %s %s, %v, want %s", c.v, number, fhirID, err, c.want)
		}
	}
}
