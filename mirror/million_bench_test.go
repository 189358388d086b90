package mirror_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/mirror"
)

// millions is a cache that holds every patient already: what it costs is the database's.
type millions struct {
	*db.Store
	patients int
}

func (c millions) FillPatients(ctx context.Context, batch []db.NewPatient, now time.Time, f db.Fill) (db.Filled, error) {
	filled, err := c.Store.FillPatients(ctx, nil, now, f) // the progress
	for range batch {
		filled.Outcomes = append(filled.Outcomes, db.ImportOutcome{Result: db.Kept, Why: db.KeptSame})
	}
	return filled, err
}

func (c millions) KnownOfFHIR(_ context.Context, after string, _ time.Time, limit int) (ids []string, err error) {
	from := 0
	if after != "" {
		if from, err = strconv.Atoi(strings.TrimPrefix(after, "million-")); err != nil {
			return nil, err
		}
		from++
	}
	for n := from; n < min(from+limit, c.patients); n++ {
		ids = append(ids, fmt.Sprintf("million-%07d", n))
	}
	return ids, nil
}

// BenchmarkMillionSweep goes through a million patients, and tells what memory the process
// had of the system at most.
func BenchmarkMillionSweep(b *testing.B) {
	patients := 1_000_000
	if testing.Short() {
		patients = 20_000
	}
	const page = 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		if strings.HasSuffix(r.URL.Path, "/metadata") {
			fmt.Fprint(w, `{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json"],"software":{"name":"HAPI FHIR Server","version":"8.8.0"},"rest":[{"mode":"server","resource":[{"type":"Patient","versioning":"versioned"}]}]}`)
			return
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("_getpagesoffset"))
		kind, end := "searchset", min(from+page, patients)
		if strings.HasSuffix(r.URL.Path, "/_history") {
			kind, end = "history", 0
		}
		fmt.Fprintf(w, `{"resourceType":"Bundle","type":%q,"meta":{"lastUpdated":%q},"link":[{"relation":"self","url":"http://%s%s"}`, kind, time.Now().Format(time.RFC3339Nano), r.Host, r.URL.Path)
		if 0 < end && end < patients {
			fmt.Fprintf(w, `,{"relation":"next","url":"http://%s/fhir?_getpages=1&_getpagesoffset=%d"}`, r.Host, end)
		}
		fmt.Fprint(w, `],"entry":[`)
		for n := from; n < end; n++ {
			comma := ","
			if n == from {
				comma = ""
			}
			fmt.Fprintf(w, `%s{"fullUrl":"http://%s/fhir/Patient/million-%07d","resource":{"resourceType":"Patient","id":"million-%07d","meta":{"versionId":"1","lastUpdated":"2026-01-02T03:04:05Z"},"name":[{"family":"Kim","given":["Nr %d"]}]},"search":{"mode":"match"}}`, comma, r.Host, n, n, n)
		}
		fmt.Fprint(w, `]}`)
	}))
	b.Cleanup(server.Close)
	base := server.URL + "/fhir"
	for b.Loop() {
		m := mirror.New(mirror.Config{
			FHIR: benchClient(b, base), Cache: millions{benchStore(b, dbtest.SQLite(b)), patients}, Log: slog.New(slog.DiscardHandler),
			Now: time.Now, NewID: uuid.NewString, Base: base, StaleAfter: 5 * time.Minute,
		})
		result, err := m.Once(b.Context(), true, func(mirror.Result) {})
		if err != nil || result.Same != patients || result.Gone != 0 {
			b.Fatalf("%+v: %v", result, err)
		}
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.Sys)/(1<<20), "MiB")
}
