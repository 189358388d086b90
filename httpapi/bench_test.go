package httpapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/httpapi"
	"patientgraph/internal/cost"
	"patientgraph/resolvers"
)

// BenchmarkPatient is one patient by number through all of the handler, without the network:
// what the layers cost. docs/performance.md sets the whole against a handler written by hand.
func BenchmarkPatient(b *testing.B) {
	ctx := b.Context()
	store, err := db.Open(ctx, dbtest.SQLite(b))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := store.ImportPatients(ctx, []db.NewPatient{{Number: "A1", FHIRID: "f1", State: db.FHIRState{
		FamilyName: "홍", GivenName: "길동", FullName: "홍길동", BirthDate: "1990-05-17", Phone: "010-1111-2222", Email: "a@b.example",
	}}}, time.Now()); err != nil {
		b.Fatal(err)
	}
	secret, log := []byte("0123456789abcdef0123456789abcdef"), slog.New(httpapi.LogHandler(slog.NewJSONHandler(io.Discard, nil)))
	config := auth.Config{Secret: secret, RoleClaim: "role", PatientClaim: "patient_id", Now: time.Now, Log: log}
	verifier, err := auth.NewVerifier(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	token, err := auth.Sign(secret, config, auth.RoleAdmin, nil, time.Hour, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	handler, err := httpapi.New(httpapi.Options{
		Log: log, Verifier: verifier, PatientNumbers: store.NumbersOf, Metrics: prometheus.NewRegistry(), FHIRTimeout: time.Second,
		Resolver: &resolvers.Resolver{Store: store, Log: log, Now: time.Now},
	})
	if err != nil {
		b.Fatal(err)
	}
	const body = `{"query":"query($id: ID!) { patient(id: $id) { id fullName birthDate phone email } }","variables":{"id":"A1"}}`
	var answer sink
	b.ReportAllocs()
	all := cost.Of(b, func() {
		for b.Loop() {
			answer = sink{header: http.Header{}}
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "/graphql", strings.NewReader(body)) // they are right
			r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}}
			r.RemoteAddr = "127.0.0.1:1"
			handler.ServeHTTP(&answer, r)
		}
	})
	b.ReportMetric(float64(all.CPU)/float64(b.N), "cpu-ns/op")
	if !strings.Contains(answer.body, "홍길동") {
		b.Error(answer.body)
	}
}

// sink takes an answer as a connection would: it has deadlines.
type sink struct {
	header http.Header
	body   string
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) Write(p []byte) (int, error)      { s.body = string(p); return len(p), nil }
func (s *sink) WriteHeader(int)                  {}
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
