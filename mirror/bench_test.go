package mirror_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/mirror"
)

// benchFHIR is the server of TEST_FHIR_URL, else a simulator's HAPI with so many patients
// of Synthea's, each changed long ago.
func benchFHIR(b *testing.B, patients int) string {
	if base := os.Getenv("TEST_FHIR_URL"); base != "" {
		return base
	}
	text, err := os.ReadFile("../e2e/testdata/synthea-patients.ndjson")
	if err != nil {
		b.Fatal(err)
	}
	var bodies [][]byte
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		bodies = append(bodies, bytes.Clone(lines.Bytes()))
	}
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.HAPI(), Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	for n := range patients {
		body := bodies[n%len(bodies)]
		id, _, _ := strings.Cut(string(body[bytes.Index(body, []byte(`"id":"`))+6:]), `"`)
		if err := server.Put(bytes.ReplaceAll(body, []byte(id), fmt.Appendf(nil, "%.20s-%06d", id, n))); err != nil {
			b.Fatal(err)
		}
	}
	server.JumpClock(time.Hour)
	base, stop, err := server.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return base
}

func benchClient(b *testing.B, base string) *fhir.Client {
	client, err := fhir.NewClient(fhir.Options{BaseURL: base})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	return client
}

func benchStore(b *testing.B, databaseURL string) *db.Store {
	store, err := db.Open(b.Context(), databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	store.Log = slog.New(slog.DiscardHandler)
	if err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return store
}

func benchMirror(client *fhir.Client, store *db.Store, base string, interval time.Duration) *mirror.Mirror {
	return mirror.New(mirror.Config{
		FHIR: client, Cache: store, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: uuid.NewString, Base: base,
		Interval: interval, StaleAfter: 5 * time.Minute,
	})
}

// BenchmarkFirstFill sets the first fill of a cache against the same pages of the same
// client, of which nothing is kept. The two take turns.
func BenchmarkFirstFill(b *testing.B) {
	patients := 20_000
	if testing.Short() {
		patients = 2_000
	}
	base := benchFHIR(b, patients)
	for name, empty := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			client := benchClient(b, base)
			var paging, filling time.Duration
			var ratios []float64
			total := 0
			for b.Loop() {
				shown, began := 0, time.Now()
				for page, err := range client.List(b.Context(), "") {
					if err != nil {
						b.Fatal(err)
					}
					shown += len(page.Changes)
				}
				paged := time.Since(began)

				m := benchMirror(client, benchStore(b, empty(b)), base, 0)
				began = time.Now()
				result, err := m.Once(b.Context(), false, func(mirror.Result) {})
				if err != nil || result.Inserted != shown {
					b.Fatalf("%+v of %d: %v", result, shown, err)
				}
				filled := time.Since(began)
				paging, filling, total = paging+paged, filling+filled, total+shown
				ratios = append(ratios, paged.Seconds()/filled.Seconds())
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "ratio-p50")
			b.ReportMetric(float64(total)/paging.Seconds(), "paged/s")
			b.ReportMetric(float64(total)/filling.Seconds(), "filled/s")
		})
	}
}

