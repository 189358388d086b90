package writethrough_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/record"
	"patientgraph/writethrough"
)

// bench is a rig with a Writer.
type bench struct {
	*rig
	w      *writethrough.Writer
	fhirID func(n int) string
}

func newBench(b *testing.B, databaseURL string, patients int) bench {
	return benchOf(newRigOn(b, databaseURL, patients), fhirID)
}

func benchOf(r *rig, id func(n int) string) bench {
	return bench{r, r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Timeout = 10 * time.Second }), id}
}

// newOpenEMRBench is newBench on an OpenEMR of the newest version.
func newOpenEMRBench(b *testing.B, databaseURL string, patients int) bench {
	version := fhirsim.OpenEMRVersions[len(fhirsim.OpenEMRVersions)-1]
	server := fhirsim.New(fhirsim.Options{Habits: fhirsim.OpenEMR(version)})
	base, stop, err := server.Start()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, Server: "openemr"})
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
	id := func(n int) string { return fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n) }
	var rows []db.NewPatient
	for n := range patients {
		server.Clinic().Put(id(n), fhirsim.Columns{
			"fname": "Min", "lname": "Kim", "DOB": "1990-01-01", "sex": "Female", "phone_cell": "010-0000-0000", "phone_home": "02-111-1111",
		})
		stored, _, _ := server.Get(id(n))
		p, err := fhir.ParsePatient(stored, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		rows = append(rows, db.NewPatient{Number: patientID(n), FHIRID: id(n), State: record.State(p)})
	}
	if _, err := store.ImportPatients(b.Context(), rows, time.Now()); err != nil {
		b.Fatal(err)
	}
	return benchOf(&rig{b, client, server, store}, id)
}

func change() fhir.ContactEdit {
	return fhir.ContactEdit{SetPhone: true, Phone: fmt.Sprint(rand.Uint64())}
}

// alone is what a write costs without us: read, edit, write.
func (s bench) alone(ctx context.Context, n int) error {
	base, err := s.client.Read(ctx, s.fhirID(n))
	if err != nil {
		return err
	}
	edited, err := base.Profile.Edit(base.JSON, change(), time.Now(), "")
	if err != nil {
		return err
	}
	_, err = s.client.Update(ctx, s.fhirID(n), edited.Body, base.ETag)
	return err
}

func (s bench) through(ctx context.Context, n int) error {
	_, err := update(ctx, s.w, writethrough.Change{PatientID: patientID(n), Edit: change()})
	return err
}

func onEachDatabase(b *testing.B, run func(b *testing.B, databaseURL string)) {
	b.Run("sqlite", func(b *testing.B) { run(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { run(b, dbtest.Postgres(b)) })
	b.Run("pooler", func(b *testing.B) { run(b, dbtest.Pooler(b)) })
}

// another is an empty database of the same kind.
func another(b *testing.B, databaseURL string) string {
	switch {
	case strings.Contains(databaseURL, "pool="):
		return dbtest.Pooler(b)
	case strings.HasPrefix(databaseURL, "postgres"):
		return dbtest.Postgres(b)
	}
	return dbtest.SQLite(b)
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

// BenchmarkOpenEMR is BenchmarkOneClient on the simulator's OpenEMR, beside the same
// write on its HAPI. All take turns; the ratio is of the whole writes.
func BenchmarkOpenEMR(b *testing.B) {
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		hapi, s := newBench(b, another(b, databaseURL), 100), newOpenEMRBench(b, databaseURL, 100)
		var onHAPI, alone, through []time.Duration
		for b.Loop() {
			for n := range 100 {
				onHAPI = append(onHAPI, timed(b, hapi.through, n))
				alone = append(alone, timed(b, s.alone, n))
				through = append(through, timed(b, s.through, n))
			}
		}
		a, t := p50(alone), p50(through)
		b.ReportMetric(a.Seconds()*1e3, "ms-alone-p50")
		b.ReportMetric(t.Seconds()*1e3, "ms-through-p50")
		b.ReportMetric((t-a).Seconds()*1e3, "ms-added-p50")
		b.ReportMetric(t.Seconds()/p50(onHAPI).Seconds(), "ratio-to-HAPI")
	})
}

// parts are what a write waited for, one write after the other.
type parts map[string][]time.Duration

// since is deferred with the time at which a part began.
func (p parts) since(part string, began time.Time) { p[part] = append(p[part], time.Since(began)) }

type timedStore struct {
	*db.Store
	parts
}

func (s timedStore) BeginUpdate(ctx context.Context, u db.ContactUpdate, owner string, lease time.Duration) (*db.Begun, error) {
	defer s.since("begin", time.Now())
	return s.Store.BeginUpdate(ctx, u, owner, lease)
}

func (s timedStore) SendUpdate(id, owner, patientID, ifMatch, put string) error {
	defer s.since("send", time.Now())
	return s.Store.SendUpdate(id, owner, patientID, ifMatch, put)
}

func (s timedStore) CloseUpdate(c db.Closing) (*db.Patient, error) {
	defer s.since("close", time.Now())
	return s.Store.CloseUpdate(c)
}

type timedFHIR struct {
	*fhir.Client
	parts
}

func (f timedFHIR) Read(ctx context.Context, id string) (fhir.Resource, error) {
	defer f.since("read", time.Now())
	return f.Client.Read(ctx, id)
}

func (f timedFHIR) Update(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
	defer f.since("put", time.Now())
	return f.Client.Update(ctx, id, body, ifMatch)
}

// BenchmarkOneClient measures what the write protocol adds to a write on the
// FHIR server alone, and what a write waits for. The two take turns.
func BenchmarkOneClient(b *testing.B) {
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		r, waits := newRigOn(b, databaseURL, 100), parts{}
		s := bench{r, r.writer(true, timedFHIR{r.client, waits}, timedStore{r.store, waits}, func(c *writethrough.Config) { c.Timeout = 10 * time.Second }), fhirID}
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
		for part, times := range waits {
			b.ReportMetric(p50(times).Seconds()*1e3, "ms-"+part+"-p50")
		}
	})
}

// Benchmark512Clients sets the rate of writes through the protocol against
// that of the FHIR server alone, which takes 200 ms for each answer. The two
// take turns.
func Benchmark512Clients(b *testing.B) {
	const clients, each, answers = 512, 10, 200 * time.Millisecond
	onEachDatabase(b, func(b *testing.B, databaseURL string) {
		s := newBench(b, databaseURL, clients)
		s.server.SetFault("", fhirsim.Fault{Delay: answers})
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
		fullURL := another(b, databaseURL)
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
	numbers := "SELECT n FROM generate_series(1, $1) AS n"
	if strings.HasPrefix(databaseURL, "sqlite:") {
		numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $1) SELECT n FROM c"
	}
	now := time.Now().UnixMicro()
	if _, err := dbtest.Open(b, databaseURL).Exec(fmt.Sprintf(`INSERT INTO contact_updates (id, patient_id, fhir_id, state, owner, lease_until, actor, idempotency_key,
			digest, if_match, put, heard, gone, answer, patient, requested_at, sent_at, settled_at)
		SELECT 'old-' || n, 'P-' || substr('000' || (n %% 100), -4), 'f', 'APPLIED', '', %d, 'me', 'key-' || n,
			'digest', 'W/"1"', '{}', '', 0, '', '', %d, %d, %d FROM (%s) AS numbers`, now, now, now, now, numbers), lines); err != nil {
		b.Fatal(err)
	}
}
