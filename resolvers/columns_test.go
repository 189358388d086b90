package resolvers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
)

// recorder is a store that remembers which columns it was asked for.
type recorder struct{ columns []db.Column }

func (r *recorder) Patient(_ context.Context, id string, columns ...db.Column) (*db.Patient, error) {
	r.columns = append(r.columns, columns...)
	return &db.Patient{ID: id}, nil
}

func (r *recorder) Patients(_ context.Context, request db.PageRequest) (*db.Page, error) {
	r.columns = append(r.columns, request.Columns...)
	return &db.Page{Patients: []*db.Patient{{ID: "P-1"}}, Cursors: []string{"c"}}, nil
}

func (r *recorder) CountPatients(context.Context, db.Filter) (int, error) { return 1, nil }

func (r *recorder) SetProfile(string, db.ProfileEdit, int64, time.Time) (*db.Patient, error) {
	return nil, db.ErrNotFound
}

func TestAQuerySelectsTheColumnsItAsksFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query string
		want  []db.Column
	}{
		{`{ patient(id: "x") { id } }`, nil},
		{`{ patient(id: "x") { __typename phone } }`, []db.Column{db.ColPhone}},
		{`{ patient(id: "x") { number: phone other: phone } }`, []db.Column{db.ColPhone}},
		{`{ patient(id: "x") { birthYear isSynced } }`, []db.Column{db.ColBirthDate, db.ColFHIRID}},
		{`{ patient(id: "x") { ...f ... on Patient { email } } } fragment f on Patient { address { city } ...g } fragment g on Patient { gender }`, []db.Column{db.ColAddress, db.ColEmail, db.ColGender}},
		{`{ patient(id: "x") { phone @skip(if: true) email @include(if: false) fullName @include(if: true) } }`, []db.Column{db.ColFullName}},
		{`query($no: Boolean = false) { patient(id: "x") { ...f @include(if: $no) bloodType } } fragment f on Patient { phone }`, []db.Column{db.ColBloodType}},
		{`{ patients { nodes { phone } edges { cursor node { email } } pageInfo { endCursor } } }`, []db.Column{db.ColEmail, db.ColPhone}},
		{`{ patients { a: edges { n: node { allergies } } ... on PatientConnection { nodes { ... { createdAt } } } } }`, []db.Column{db.ColAllergies, db.ColCreatedAt}},
		{`{ patients { totalCount } }`, nil},
	} {
		store := &recorder{}
		server := handler.New(graph.NewExecutableSchema(graph.Config{Resolvers: &Resolver{Store: store}}))
		server.AddTransport(transport.POST{})
		body, err := json.Marshal(map[string]string{"query": c.query})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, request.WithContext(auth.WithViewer(request.Context(), auth.Viewer{Role: auth.RoleAdmin})))
		if strings.Contains(answer.Body.String(), `"errors"`) {
			t.Fatalf("%s: %s", c.query, answer.Body)
		}
		var want []db.Column // a count alone loads no page
		if !strings.Contains(c.query, "totalCount") {
			want = append([]db.Column{db.ColVersion}, c.want...) // a key, always there
		}
		slices.Sort(want)
		slices.Sort(store.columns)
		if !slices.Equal(store.columns, want) {
			t.Errorf("%s selects columns %v, want %v", c.query, store.columns, want)
		}
	}
}
