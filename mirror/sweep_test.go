package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// filled is a rig whose cache has so many patients.
func filled(t *testing.T, patients int) *rig {
	t.Helper()
	r := newRig(t, fhirsim.PlainR4()) // whose changes do not show who was deleted
	for n := range patients {
		r.puts(fmt.Sprint("p", n), "010-1111-1111")
	}
	r.clock.Pass(-time.Second)
	if result := r.walks(); result.Inserted != patients {
		t.Fatalf("%+v", result)
	}
	r.clock.Pass(time.Second)
	r.looks()
	r.clock.Pass(time.Minute)
	return r
}

// gone counts tombstones.
func (r *rig) gone(patients int) (gone int) {
	for n := range patients {
		if !r.row(fmt.Sprint("p", n)).GoneAt.IsZero() {
			gone++
		}
	}
	return gone
}

// A walk that shows very few is rather one through another server: nobody is gone before
// somebody says so.
func TestManyMissingPatientsAreNotTakenForGone(t *testing.T) {
	t.Parallel()
	const patients = 60
	r := filled(t, patients)
	for n := range manyMissing {
		r.server.Delete(fmt.Sprint("p", n))
	}
	r.walks()
	if gone := r.gone(patients); gone != manyMissing {
		t.Errorf("%d are gone, want %d", gone, manyMissing)
	}
	for n := manyMissing; n < 2*manyMissing+1; n++ {
		r.server.Delete(fmt.Sprint("p", n))
	}
	r.clock.Pass(time.Minute)
	r.walks()
	if gone := r.gone(patients); gone != manyMissing || !strings.Contains(r.log.String(), errManyMissing.Error()) {
		t.Errorf("%d are gone; the log says %s", gone, r.log.String())
	}
	if _, err := r.Once(t.Context(), false, func(Result) {}); err != nil || r.gone(patients) != manyMissing {
		t.Errorf("sync: %v, %d are gone", err, r.gone(patients))
	}
	result, err := r.Once(t.Context(), true, func(Result) {})
	if err != nil || result.Gone != manyMissing+1 || r.gone(patients) != 2*manyMissing+1 {
		t.Errorf("sync --full: %+v, %v, %d are gone", result, err, r.gone(patients))
	}
}

// Who waits for a sweep hears of it by the error, with how many; the log does not say it too.
func TestSyncTellsOnceThatTooManyAreMissing(t *testing.T) {
	t.Parallel()
	const patients = 60
	r := filled(t, patients)
	r.Interval = 0 // no poll beside it finds them deleted
	for n := range manyMissing + 1 {
		r.server.Delete(fmt.Sprint("p", n))
	}
	r.clock.Pass(time.Minute)
	_, err := r.Once(t.Context(), true, func(Result) {})
	if !errors.Is(err, errManyMissing) || !strings.HasSuffix(err.Error(), "(21 of 60)") || r.gone(patients) != 0 {
		t.Errorf("%v, %d are gone", err, r.gone(patients))
	}
	if strings.Contains(r.log.String(), errManyMissing.Error()) {
		t.Errorf("the log says it too: %s", r.log.String())
	}
}

// A list that leaves patients out makes nobody gone: each is asked for.
func TestAListThatLeavesPatientsOutMakesNobodyGone(t *testing.T) {
	t.Parallel()
	r := filled(t, 30)
	r.server.Delete("p3")
	r.fhir.list = func(ctx context.Context, from string) iter.Seq2[fhir.Listing, error] {
		return func(yield func(fhir.Listing, error) bool) {
			for l, err := range r.fhir.Client.List(ctx, from) {
				if len(l.Changes) > 10 {
					l.Changes = l.Changes[10:]
				}
				if !yield(l, err) {
					return
				}
			}
		}
	}
	if result := r.walks(); result.Gone != 1 || r.gone(30) != 1 || r.row("p3").GoneAt.IsZero() {
		t.Errorf("%+v, %d are gone", result, r.gone(30))
	}
	r.server.SetFault("p4", fhirsim.Fault{On: http.MethodGet, Status: http.StatusInternalServerError})
	r.clock.Pass(time.Minute)
	r.walks() // whom the server cannot show is not gone either
	if r.gone(30) != 1 || r.row("p4").UnseenSince.IsZero() {
		t.Errorf("%d are gone, p4 is %+v", r.gone(30), r.row("p4"))
	}
}

// A walk that breaks off goes on where it was, in another process too.
func TestAWalkGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	const patients = 230
	for n := range patients {
		r.puts(fmt.Sprint("p", n), "010-1111-1111")
	}
	read := 0
	for after := range 3 {
		r.server.SetFault("", fhirsim.Fault{On: fhirsim.OnSearch, After: 1, Times: 2, Status: http.StatusInternalServerError})
		result, err := r.sweep(t.Context(), areTooMany, func(Result) {})
		if err == nil {
			t.Fatalf("walk %d did not break off", after)
		}
		read += result.Read()
		r.Mirror = r.another(r.Base) // another process
		r.lead()
	}
	read += r.walks().Read()
	if n, err := r.store.CountPatients(t.Context(), db.Filter{}); n != patients || err != nil || read > patients+10 { // pages overlap by one
		t.Errorf("%d patients (%v), %d were read", n, err, read)
	}
	if !r.Filled() || !r.progress.SweptAt.IsZero() {
		t.Errorf("%+v", r.progress)
	}
}

// What was seen of another FHIR server says nothing of this one.
func TestAMirrorOfAnotherServerBeginsAnew(t *testing.T) {
	t.Parallel()
	r := filled(t, 3)
	if r.LookedAt().IsZero() || !r.Filled() {
		t.Fatalf("looked at %v, filled %v", r.LookedAt(), r.Filled())
	}
	r.Mirror = r.another("https://other.example/fhir")
	r.lead()
	if !r.LookedAt().IsZero() || r.Filled() || r.progress.Sweep != nil || !r.progress.ServerAt.IsZero() {
		t.Errorf("looked at %v, filled %v, %+v", r.LookedAt(), r.Filled(), r.progress)
	}
	if m, err := r.store.Mirror(t.Context()); err != nil || !m.LookedAt.IsZero() {
		t.Errorf("%+v, %v", m, err)
	}
	r.walks()
	r.looks()
	if r.LookedAt().IsZero() || !r.Filled() {
		t.Errorf("then looked at %v, filled %v", r.LookedAt(), r.Filled())
	}
}

// manyPatients lists so many in pages, and has them all in the cache.
type manyPatients struct {
	memory
	patients int
	page     int
}

func (m *manyPatients) id(n int) string { return fmt.Sprintf("95f0a7e2-aaaa-4b11-8c22-%012d", n) }

func (m *manyPatients) List(context.Context, string) iter.Seq2[fhir.Listing, error] {
	return func(yield func(fhir.Listing, error) bool) {
		for n := 0; n < m.patients; n += m.page {
			l := fhir.Listing{Next: fmt.Sprint(n)}
			for k := n; k < min(n+m.page, m.patients); k++ {
				l.Changes = append(l.Changes, fhir.Change{ID: m.id(k), Patient: fhir.Resource{ID: m.id(k), JSON: []byte(`{"resourceType":"Patient","id":"` + m.id(k) + `"}`)}})
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (m *manyPatients) KnownOfFHIR(_ context.Context, after string, _ time.Time, limit int) (ids []string, _ error) {
	first := 0
	if after != "" {
		_, _ = fmt.Sscanf(after, "95f0a7e2-aaaa-4b11-8c22-%012d", &first)
		first++
	}
	for n := first; n < min(first+limit, m.patients); n++ {
		ids = append(ids, m.id(n))
	}
	return ids, nil
}

// A walk holds a page and a hash of each id: a million need a tenth of 300 MiB.
func TestAWalkInBoundedMemory(t *testing.T) {
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	many := &manyPatients{patients: 200_000, page: 200}
	m := New(Config{FHIR: many, Cache: many, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now, NewID: func() string { return "me" }})
	if _, err := many.LeadMirror(m.owner, time.Minute, false); err != nil {
		t.Fatal(err)
	}
	pages, peak := 0, uint64(0)
	result, err := m.sweep(t.Context(), areTooMany, func(Result) {
		if pages++; pages%16 == 0 {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	})
	if grown := int64(peak) - int64(before.HeapAlloc); err != nil || result.Gone > 0 || result.Read() != many.patients || grown > 48<<20 {
		t.Errorf("%d MiB for %+v in %d pages, %v", grown>>20, result, pages, err)
	}
}

// Who is deleted or changes during the first fill is shown by the first look: nobody goes
// through all patients a second time.
func TestTheFirstFillIsMadeOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	r.puts("a", "010-1111-1111")
	r.walks()
	r.looks()
	if next := r.untilSweep(); next == 0 {
		t.Error("a sweep is due at once after the first fill")
	}
	r.clock.Pass(sweepEvery)
	if next := r.untilSweep(); next != 0 {
		t.Errorf("a day later no sweep is due for %v", next)
	}
}
