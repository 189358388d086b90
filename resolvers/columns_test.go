package resolvers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/graph"
)

// recorder is a store that remembers which columns it was asked for.
type recorder struct {
	Store
	columns []db.Column
}

func (r *recorder) NumberChanges(context.Context) (int64, error) { return 7, nil }

func (r *recorder) Patient(_ context.Context, id string, columns ...db.Column) (*db.Patient, error) {
	r.columns = append(r.columns, columns...)
	return &db.Patient{ID: id, ChangeSeq: 7}, nil
}

func (r *recorder) Patients(_ context.Context, request db.PageRequest) (*db.Page, error) {
	r.columns = append(r.columns, request.Columns...)
	return &db.Page{Patients: []*db.Patient{{ID: "P-1", ChangeSeq: 7}}, Order: request.Order}, nil
}

func (r *recorder) CountPatients(context.Context, db.Filter) (int, error) { return 1, nil }

func (r *recorder) MergedInto(context.Context, string) (number, mergedInto string, err error) {
	return "", "", db.ErrNotFound
}
func (r *recorder) AliasesOf(context.Context, []string) (map[string]string, error) { return nil, nil }

func (r *recorder) SetProfile(string, db.ProfileEdit, int64, time.Time) (*db.Patient, error) {
	return nil, db.ErrNotFound
}

// ask puts a query to the resolvers as an admin.
func ask(t *testing.T, store Store, query string) string {
	t.Helper()
	server := handler.New(graph.NewExecutableSchema(graph.Config{Resolvers: &Resolver{Store: store}}))
	server.AddTransport(transport.POST{})
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body)))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	server.ServeHTTP(answer, request.WithContext(auth.WithViewer(request.Context(), auth.Viewer{Role: auth.RoleAdmin})))
	if strings.Contains(answer.Body.String(), `"errors"`) {
		t.Fatalf("%s: %s", query, answer.Body)
	}
	return answer.Body.String()
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
		{`{ patient(id: "x") { active deceased replacedBy } }`, []db.Column{db.ColInactive, db.ColDeceased, db.ColReplacedBy}},
		{`{ patient(id: "x") { emergencyContact { name } } }`, []db.Column{db.ColEmergencyContact, db.ColFHIRContact}},
		{`{ patient(id: "x") { changeCursor } }`, []db.Column{db.ColChangeSeq, db.ColVersion}},
		{`{ patients { totalCount } }`, nil},
	} {
		store := &recorder{}
		ask(t, store, c.query)
		var want []db.Column // a count alone loads no page
		if !strings.Contains(c.query, "totalCount") {
			want = append([]db.Column{db.ColID}, c.want...) // a key, always there
		}
		slices.Sort(want)
		slices.Sort(store.columns)
		if !slices.Equal(store.columns, want) {
			t.Errorf("%s selects columns %v, want %v", c.query, store.columns, want)
		}
	}
}

// fullRow is a row that has everything.
func fullRow() *db.Patient {
	row := &db.Patient{
		ID: "x", FHIRID: "x", SyncState: db.Synced, LastSyncedAt: time.Unix(1, 0), Version: 1, ChangeSeq: 1, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(1, 0),
		EmergencyContact: &db.EmergencyContact{Name: "x", Relationship: "x", Phone: "x"}, Allergies: []string{"x"}, BloodType: "A+",
		FHIRState: db.FHIRState{
			BirthDate: "1949-11-14", Gender: "male", FHIRUpdatedAt: time.Unix(1, 0), Deceased: true, ReplacedBy: "survivor",
			FHIRContact: &db.EmergencyContact{Name: "y", Relationship: "y", Phone: "y"},
			Address:     &db.Address{Text: "x", Lines: []string{"x"}, City: "x", District: "x", State: "x", PostalCode: "x", Country: "x"},
			OtherNames:  []db.Name{{Text: "x"}}, OtherPhones: []string{"x"},
		},
	}
	for state, n := reflect.ValueOf(&row.FHIRState).Elem(), 0; n < state.NumField(); n++ {
		if state.Field(n).IsZero() && state.Type().Field(n).Name != "Inactive" { // an active one shows true
			state.Field(n).SetString("x")
		}
	}
	return row
}

// A field that toPatient does not set, or whose column is not selected, is empty
// though the row has everything.
func TestEachFieldOfAPatientIsShown(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store, err := db.Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	row := fullRow()
	batch := []db.NewPatient{{Number: row.ID, FHIRID: row.FHIRID, State: row.FHIRState}, {Number: "y", FHIRID: row.ReplacedBy}}
	if _, err := store.ImportPatients(ctx, batch, row.CreatedAt); err != nil {
		t.Fatal(err)
	}
	if _, err := store.SetProfile(row.ID, db.ProfileEdit{
		SetEmergencyContact: true, EmergencyContact: row.EmergencyContact, SetAllergies: true, Allergies: row.Allergies,
		SetBloodType: true, BloodType: row.BloodType,
	}, 0, row.UpdatedAt); err != nil {
		t.Fatal(err)
	}
	types := graph.NewExecutableSchema(graph.Config{}).Schema().Types
	for _, field := range types["Patient"].Fields {
		query := field.Name
		if parts := types[field.Type.Name()].Fields; len(parts) > 0 {
			query += " {"
			for _, part := range parts {
				query += " " + part.Name
			}
			query += " }"
		}
		answer := ask(t, store, `{ patient(id: "x") { `+query+` } }`)
		for _, empty := range []string{"null", `""`, "[]", "false", "UNKNOWN", "0001-01-01"} {
			if strings.Contains(answer, empty) {
				t.Errorf("%s: %s", field.Name, answer)
			}
		}
	}
}

// Whom to call is what was recorded here, else what FHIR has; and nothing recorded is
// not nothing known.
func TestWhatWasRecordedHereGoesFirst(t *testing.T) {
	t.Parallel()
	row, admin := fullRow(), auth.Viewer{Role: auth.RoleAdmin}
	if c := (&Resolver{}).toPatient(row, admin).EmergencyContact; c.Name != "x" || c.Source != graph.EmergencyContactSourceLocal {
		t.Errorf("%+v", c)
	}
	row.EmergencyContact, row.Allergies = nil, []string{}
	p := (&Resolver{}).toPatient(row, admin)
	if c := p.EmergencyContact; c.Name != "y" || c.Source != graph.EmergencyContactSourceFhir || p.Allergies == nil {
		t.Errorf("%+v, allergies %v", c, p.Allergies)
	}
	row.FHIRContact, row.Allergies = nil, nil
	if p := (&Resolver{}).toPatient(row, admin); p.EmergencyContact != nil || p.Allergies != nil {
		t.Errorf("%+v, allergies %v", p.EmergencyContact, p.Allergies)
	}
}

// merges is a store in which records were merged into others, by FHIR id; the number
// of a record is its FHIR id in capitals.
type merges struct {
	Store
	into map[string]string
}

func (m merges) MergedInto(_ context.Context, fhirID string) (number, mergedInto string, err error) {
	into, known := m.into[fhirID]
	if !known {
		return "", "", db.ErrNotFound
	}
	return strings.ToUpper(fhirID), into, nil
}

func TestMergedRecordsLeadToTheOneThatIsLeft(t *testing.T) {
	t.Parallel()
	const base = "https://emr.example/fhir"
	records := map[string]string{
		"a": "b", "b": base + "/Patient/c", "c": "", "lost": "nowhere", "urn": fhir.Nobody,
		"self": base + "/Patient/self", "x": "y", "y": "z", "z": "x", "abroad": "https://mpi.example/fhir/Patient/c",
	}
	for from, want := range map[string]string{
		"": "", "a": "C", "b": "C", "c": "C", "lost": "", "urn": "", "self": "", "x": "", "abroad": "", fhir.Nobody: "",
		base + "/Patient/a": "C", "https://mpi.example/fhir/Patient/a": "", "nowhere": "",
	} {
		r := &Resolver{Store: merges{into: records}, FHIRBase: base}
		number, err := r.survivor(t.Context(), from)
		if err != nil || value(number) != want {
			t.Errorf("%s leads to %q (%v), want %q", from, value(number), err, want)
		}
	}
}
