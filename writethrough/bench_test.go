package writethrough_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirtest"
	"patientgraph/writethrough"
)

// bench is a FHIR server with patients, and a Writer in front of it.
type bench struct {
	client *fhir.Client
	server *fhirtest.Server
	writer *writethrough.Writer
}

func patientID(n int) string { return fmt.Sprintf("P-%04d", n) }
func fhirID(n int) string    { return fmt.Sprintf("f%d", n) }

// newBench starts a bench with that many patients.
func newBench(b *testing.B, databaseURL string, patients int) bench {
	b.Helper()
	server := fhirtest.New(fhirtest.Options{})
	base, stop, err := server.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, MaxConns: 1024})
	if err != nil {
		b.Fatal(err)
	}
	store, err := db.Open(b.Context(), databaseURL)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	if err := store.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	var rows []db.NewPatient
	for n := range patients {
		resource := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":"Kim","given":["Min"]}],"telecom":[{"system":"phone","value":"0","use":"mobile"}],"gender":"female","birthDate":"1990-01-01"}`, fhirID(n))
		if err := server.Put([]byte(resource)); err != nil {
			b.Fatal(err)
		}
		p, err := fhir.ParsePatient([]byte(resource), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		rows = append(rows, db.NewPatient{HospitalID: patientID(n), FHIRID: fhirID(n), State: writethrough.State(p)})
	}
	if _, err := store.ImportPatients(b.Context(), rows, time.Now()); err != nil {
		b.Fatal(err)
	}
	w := writethrough.New(writethrough.Config{
		FHIR: client, Store: store, Log: slog.New(slog.DiscardHandler), Timeout: 10 * time.Second, Keep: 24 * time.Hour,
		Now: time.Now, NewID: func() string { return uuid.Must(uuid.NewV7()).String() },
	})
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx, context.Background()) }()
	b.Cleanup(func() { end(); <-ended })
	return bench{client: client, server: server, writer: w}
}

func change() fhir.ContactEdit {
	return fhir.ContactEdit{SetPhone: true, Phone: fmt.Sprint(rand.Uint64())}
}

// alone is what a write costs without us: read, edit, write.
func (s bench) alone(ctx context.Context, n int) error {
	base, err := s.client.Read(ctx, fhirID(n))
	if err != nil {
		return err
	}
	body, err := fhir.EditContact(base.JSON, change(), time.Now())
	if err != nil {
		return err
	}
	_, err = s.client.Update(ctx, fhirID(n), body, base.ETag)
	return err
}

func (s bench) through(ctx context.Context, n int) error {
	_, err := s.writer.UpdateContact(ctx, writethrough.Change{PatientID: patientID(n), Edit: change()})
	return err
}

func onEachDatabase(b *testing.B, run func(b *testing.B, databaseURL string)) {
	b.Run("sqlite", func(b *testing.B) { run(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { run(b, dbtest.Postgres(b)) })
}

func p50(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func timed(b *testing.B, what func(context.Context, int) error, n int) time.Duration {
	began := time.Now()
	if err := what(b.Context(), n); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// BenchmarkOneClient measures what the write protocol adds to a write on the
// FHIR server alone. The two take turns.
func BenchmarkOneClient(b *testing.B) {
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		s := newBench(b, databaseURL, 100)
		var alone, through []time.Duration
		for b.Loop() {
			for n := range 100 {
				alone = append(alone, timed(b, s.alone, n))
				through = append(through, timed(b, s.through, n))
			}
		}
		a, t := p50(alone), p50(through)
		b.ReportMetric(a.Seconds()*1e3, "ms-alone-p50")
		b.ReportMetric(t.Seconds()*1e3, "ms-through-p50")
		b.ReportMetric((t-a).Seconds()*1e3, "ms-added-p50")
	})
}

// Benchmark512Clients sets the rate of writes through the protocol against
// that of the FHIR server alone, which takes 200 ms for each answer. The two
// take turns.
func Benchmark512Clients(b *testing.B) {
	const clients, each, answers = 512, 10, 200 * time.Millisecond
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		s := newBench(b, databaseURL, clients)
		s.server.SetFault("", fhirtest.Fault{Delay: answers})
		round := func(what func(context.Context, int) error) time.Duration {
			began := time.Now()
			var wg sync.WaitGroup
			for n := range clients {
				wg.Go(func() {
					time.Sleep(rand.N(2 * answers)) // clients do not march in step
					for range each {
						if err := what(b.Context(), n); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		round(s.alone) // connections are opened
		var alone, through time.Duration
		for b.Loop() {
			alone += round(s.alone)
			through += round(s.through)
		}
		b.ReportMetric(alone.Seconds()/through.Seconds(), "ratio")
		b.ReportMetric(float64(b.N*clients*each)/through.Seconds(), "writes/s")
	})
}

// BenchmarkMillionSettled sets writes on a journal that holds a million
// settled updates against writes on an empty one. The two take turns.
func BenchmarkMillionSettled(b *testing.B) {
	lines := 1_000_000
	if testing.Short() {
		lines = 10_000
	}
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		empty := newBench(b, databaseURL, 100)
		fullURL := dbtest.SQLite(b)
		if strings.HasPrefix(databaseURL, "postgres") {
			fullURL = dbtest.Postgres(b)
		}
		full := newBench(b, fullURL, 100)
		settle(b, fullURL, lines)
		var few, many []time.Duration
		for b.Loop() {
			for n := range 100 {
				few = append(few, timed(b, empty.through, n))
				many = append(many, timed(b, full.through, n))
			}
		}
		b.ReportMetric(p50(many).Seconds()/p50(few).Seconds(), "ratio-p50")
		b.ReportMetric(p50(many).Seconds()*1e3, "ms-p50")
	})
}

// settle fills the journal with updates that were settled just now.
func settle(b *testing.B, databaseURL string, lines int) {
	b.Helper()
	driver, source, numbers := "pgx", databaseURL, "SELECT n FROM generate_series(1, $1) AS n"
	if path, found := strings.CutPrefix(databaseURL, "sqlite:"); found {
		driver, source = "sqlite", "file:"+strings.NewReplacer("?", "%3f", "#", "%23").Replace(path)+"?_pragma=busy_timeout(10000)"
		numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) SELECT n FROM c"
	}
	d, err := sql.Open(driver, source)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	now := time.Now().UnixMicro()
	if _, err := d.Exec(fmt.Sprintf(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, asked, base_etag, base, intended, gone, answer, patient, requested_at, sent_at, settled_at)
		SELECT 'old-' || n, 'P-' || substr('000' || (n %% 100), -4), 'f', 'APPLIED', '', %d, 'me', 'key-' || n,
			'digest', '{}', 'W/"1"', '{}', '{}', 0, '', '', %d, %d, %d FROM (%s) AS numbers`, now, now, now, now, numbers), lines); err != nil {
		b.Fatal(err)
	}
}
