package mirror_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
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

func benchStore(b testing.TB, databaseURL string) *db.Store {
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

// BenchmarkLag edits 50 patients a second on the FHIR server, and looks how long after its
// answer the cache shows each edit. b.N is how many Intervals that goes on.
func BenchmarkLag(b *testing.B) {
	base := benchFHIR(b, 5_000)
	for _, interval := range []time.Duration{2 * time.Second, 30 * time.Second} {
		b.Run(interval.String(), func(b *testing.B) {
			if testing.Short() && interval > 2*time.Second {
				b.Skip("takes minutes")
			}
			client, databaseURL := benchClient(b, base), dbtest.SQLite(b)
			m := benchMirror(client, benchStore(b, databaseURL), base, interval)
			if _, err := m.Once(b.Context(), false, func(mirror.Result) {}); err != nil {
				b.Fatal(err)
			}
			var ids []string
			for page, err := range client.List(b.Context(), "") {
				if err != nil {
					b.Fatal(err)
				}
				for _, c := range page.Changes {
					ids = append(ids, c.ID)
				}
			}
			go m.Run(b.Context())
			b.ResetTimer()
			lags := follow(b, dbtest.Open(b, databaseURL), base, ids, time.Duration(b.N)*interval)
			b.ReportMetric(p(lags, 50), "s-p50")
			b.ReportMetric(p(lags, 99), "s-p99")
			b.ReportMetric(p(lags, 100), "s-max")
			b.ReportMetric(float64(len(lags)), "edits")
		})
	}
}

// p is a percentile in seconds.
func p(times []time.Duration, percent int) float64 {
	slices.Sort(times)
	return times[(len(times)-1)*percent/100].Seconds()
}

// follow edits the patients one after the other, and returns how long the cache took to
// show each edit.
func follow(b *testing.B, cache *sql.DB, base string, ids []string, during time.Duration) []time.Duration {
	const pause, clients = 20 * time.Millisecond, 8
	var mu sync.Mutex
	answered := map[string]time.Time{} // by the phone that was set
	edits, began := make(chan int), time.Now()
	var editors sync.WaitGroup
	for range clients {
		editors.Go(func() {
			for n := range edits {
				id, phone := ids[n%len(ids)], fmt.Sprintf("+1-%d-%d", began.UnixMicro(), n)
				body := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"family":"Lag"}],"telecom":[{"system":"phone","value":%q}]}`, id, phone)
				request, _ := http.NewRequest(http.MethodPut, base+"/Patient/"+id, strings.NewReader(body))
				request.Header.Set("Content-Type", "application/fhir+json")
				response, err := http.DefaultClient.Do(request)
				if err != nil || response.StatusCode != http.StatusOK {
					b.Error(response, err)
					continue
				}
				response.Body.Close()
				mu.Lock()
				answered[phone] = time.Now()
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		for n := 0; time.Since(began) < during; n++ {
			<-ticker.C
			edits <- n
		}
		close(edits)
		editors.Wait()
	}()
	var lags []time.Duration
	seen := map[string]bool{}
	look := func() {
		rows, err := cache.Query(fmt.Sprintf("SELECT phone FROM patients WHERE phone LIKE '+1-%d-%%' AND updated_at > %d", began.UnixMicro(), time.Now().Add(-30*time.Second).UnixMicro()))
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		var found []string
		for rows.Next() {
			var phone string
			if err := rows.Scan(&phone); err != nil {
				b.Fatal(err)
			}
			found = append(found, phone)
		}
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		for _, phone := range found {
			if at, ok := answered[phone]; ok && !seen[phone] {
				seen[phone] = true
				lags = append(lags, now.Sub(at))
			}
		}
	}
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(100 * time.Millisecond):
		}
		look()
	}
	wait.Until(b, "every edit is shown", func() bool { look(); return len(lags) == len(answered) })
	return lags
}

// BenchmarkBesideAFill sets reads and writes of one client during a first fill against the
// same without one; they take turns. The client says as serve does that it is there.
func BenchmarkBesideAFill(b *testing.B) {
	const during = 4 * time.Second
	base := benchFHIR(b, 20_000)
	for name, empty := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres} {
		b.Run(name, func(b *testing.B) {
			client := benchClient(b, base)
			var reads, writes, readsKept, writesKept []float64
			filled := 0
			for b.Loop() {
				store := benchStore(b, empty(b))
				if _, err := store.ImportPatients(b.Context(), []db.NewPatient{{Number: "L-1"}}, time.Now()); err != nil {
					b.Fatal(err)
				}
				m := benchMirror(client, store, base, 0)
				use := func(during time.Duration) (read, written float64) {
					for began := time.Now(); time.Since(began) < during; {
						m.Used()
						for n := range 20 {
							at := time.Now()
							if _, err := store.Patient(b.Context(), "L-1"); err != nil {
								b.Fatal(err)
							}
							read += time.Since(at).Seconds()
							if n > 0 {
								continue
							}
							at = time.Now()
							if _, err := store.SetProfile("L-1", db.ProfileEdit{SetBloodType: true, BloodType: fmt.Sprint(at.UnixNano())}, 0, at); err != nil {
								b.Fatal(err)
							}
							written += time.Since(at).Seconds()
						}
						reads, writes = append(reads, read/20), append(writes, written)
						read, written = 0, 0
					}
					slices.Sort(reads)
					slices.Sort(writes)
					read, written = reads[len(reads)/2], writes[len(writes)/2]
					reads, writes = nil, nil
					return read, written
				}
				use(during / 4)
				readAlone, writtenAlone := use(during)
				ctx, stop := context.WithCancel(b.Context())
				var filling sync.WaitGroup
				filling.Go(func() {
					_, _ = m.Once(ctx, false, func(r mirror.Result) { filled += r.Inserted })
				})
				time.Sleep(during / 8)
				read, written := use(during)
				stop()
				filling.Wait()
				readAgain, writtenAgain := use(during)
				readsKept = append(readsKept, (readAlone+readAgain)/2/read)
				writesKept = append(writesKept, (writtenAlone+writtenAgain)/2/written)
			}
			slices.Sort(readsKept)
			slices.Sort(writesKept)
			b.ReportMetric(readsKept[len(readsKept)/2], "reads-kept")
			b.ReportMetric(writesKept[len(writesKept)/2], "writes-kept")
			b.ReportMetric(float64(filled)/float64(b.N)/during.Seconds()*8/9, "filled/s")
		})
	}
}
