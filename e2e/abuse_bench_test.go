package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	. "patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/internal/cost"
	"patientgraph/mirror"
)

// costliest are requests at or near maxCost, and what a page costs that people
// ask for.
var costliest = []struct{ name, query string }{
	{"one-patient", `{ patient(id: "H-0000007") { ` + PatientFields + ` } }`},
	{"page-of-200", `{ patients(first: 200) { nodes { ` + PatientFields + ` } } }`},
	{"nodes-and-edges", `{ patients(first: 200) { nodes { ` + PatientFields + ` } edges { cursor node { ` + PatientFields + ` } } } }`},
	{"look-ups", `{ ` + repeated(50, `p%d: patient(id: "H-0000007") { id } `) + `}`},
	{"empty-pages", `{ ` + repeated(2, `p%d: patients(first: 1, filter: {birthDate: "1800"}) { nodes { id } } `) + `}`},
	{"fields", `{ patients(first: 200) { nodes { ` + repeated(80, "a%d: __typename ") + `} } }`},
	{"introspection", `{ __schema { types { ` + repeated(20, "a%d: fields { name description } ") + `} } }`},
	{"counts", `{ ` + repeated(3, `p%d: patients(first: 1, filter: {gender: MALE, birthDate: "1990", updatedSince: "202%d-01-01T00:00:00Z"}) { totalCount } `) + `}`},
	{"counts-of-all", `{ ` + repeated(3, `p%d: patients(first: 1) { totalCount } `) + `}`},
	{"count-by-name", `{ ` + repeated(3, `p%d: patients(first: 1, filter: {name: "길"}) { totalCount } `) + `}`},
	{"filtered-pages", `{ ` + repeated(2, `p%d: patients(first: 1, filter: {updatedSince: "2000-01-01T00:00:00Z", syncState: SYNCED}) { nodes { id } } `) + `}`},
	{"pages-of-unknown-gender", `{ ` + repeated(2, `p%d: patients(first: 1, filter: {gender: UNKNOWN}) { nodes { id } } `) + `}`},
	{"filtered-pages-by-name", `{ ` + repeated(2, `p%d: patients(first: 1, orderBy: NAME_DESC, filter: {gender: MALE, birthDate: "1990"}) { nodes { id } } `) + `}`},
	{"inline-fragments", `{ patient(id: "H-0000007") ` + strings.Repeat("{ ... ", 10) + `{ ` + repeated(100, "a%d: id ") + `}` + strings.Repeat("}", 11)},
	{"fragments-side-by-side", `{ patient(id: "H-0000007") { ` + repeated(100, "...F%d ") + `} } ` + repeated(100, "fragment F%d on Patient { f%d: id } ")},
	{"long-ids", `{ ` + repeated(4, `p%d: patient(id: "`+strings.Repeat("x", 14_000)+`") { id } `) + `}`},
	{"names", `{ ` + repeated(2, `p%d: patients(first: 1, filter: {name: "길동", gender: OTHER}) { nodes { id } } `) + `}`},
	{"pages-of-nothing", `{ ` + repeated(2, `p%d: patients(first: 1, orderBy: NAME_ASC, filter: {gender: OTHER, syncState: LOCAL_ONLY}) { nodes { id } } `) + `}`},
}

// BenchmarkCostliestRequests tells what of the limits of one request costs what,
// in processor time of the whole process (client included), on 100,000 patients
// in SQLite.
func BenchmarkCostliestRequests(b *testing.B) {
	databaseURL := dbtest.SQLite(b)
	store, err := db.Open(context.Background(), databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	if err := store.Migrate(context.Background()); err != nil {
		b.Fatal(err)
	}
	total := 100_000
	if testing.Short() {
		total = 1_000
	}
	imported := mirror.NewImport(store, mirror.ImportOptions{
		Now: time.Now, BadLine: func(_ string, line int, err error) { b.Errorf("line %d: %v", line, err) },
	})
	if err := imported.Read(context.Background(), "patients", &patients{total: total}); err != nil {
		b.Fatal(err)
	}
	store.Close()
	p := StartWith(b, "http://127.0.0.1:1/fhir", databaseURL, "LOG_LEVEL=info", "INTROSPECTION=true")
	for _, r := range costliest {
		b.Run(r.name, func(b *testing.B) {
			body := Body(b, r.query, nil)
			var cpu time.Duration
			var allocated uint64
			for b.Loop() {
				var answer Answer
				used := cost.Of(b, func() { answer = p.Post(body) })
				if code := answer.ErrorCode(); code != "" {
					b.Fatalf("code %s", code)
				}
				cpu += used.CPU
				allocated += used.Bytes
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/1000, "cpu-ms/op")
			b.ReportMetric(float64(allocated)/float64(b.N)/(1<<20), "MiB/op")
		})
	}
}
