package mirror

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
)

// ways are servers whose changes are found in different ways.
func ways(t *testing.T, test func(t *testing.T, habits fhirsim.Habits)) {
	t.Helper()
	for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4()} {
		t.Run(habits.Name, func(t *testing.T) {
			t.Parallel()
			test(t, habits)
		})
	}
}

func TestAPollThatFindsNothingCostsOneRequest(t *testing.T) {
	t.Parallel()
	for _, habits := range []fhirsim.Habits{fhirsim.HAPI(), fhirsim.Medplum(), fhirsim.PlainR4(), fhirsim.OpenEMR("8.1.1-dev")} {
		t.Run(habits.Name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, habits)
			if habits.OpenEMR {
				r.PatientIDSystem = fhirsim.OpenEMRIdentifierSystem
			}
			r.puts("95f0a7e2-aaaa-4b11-8c22-000000000001", "010-1111-1111")
			r.walks()
			r.looks()
			most := 1
			if !habits.NextLinks { // only a second one tells that the page of what changed last was the last one
				most = 2
			}
			for range 3 {
				if asked := r.requests(func() { r.looks() }); len(asked) > most {
					t.Errorf("it asked %q", asked)
				}
			}
			r.clock.Pass(2 * r.StaleAfter) // a wide poll asks first how changes are found
			if asked := r.requests(func() { r.looks() }); len(asked) > 5+most {
				t.Errorf("a wide poll asked %q", asked)
			}
			if habits.OpenEMR {
				r.clock.Pass(100 * time.Hour)
				r.looks()
			}
			if asked := r.requests(func() { r.looks() }); len(asked) > most { // nothing has changed for long
				t.Errorf("after a wide poll it asked %q", asked)
			}
		})
	}
}

// A poll that breaks off in the middle has not looked: the next one begins at the same
// time, and takes all.
func TestAPollThatBreaksOffIsMadeAgain(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, habits fhirsim.Habits) {
		r := newRig(t, habits)
		const patients = 250 // more than a page
		for n := range patients {
			r.puts(fmt.Sprint("p", n), "010-1111-1111")
		}
		r.walks()
		r.looks()
		r.clock.Pass(time.Minute)
		for n := range patients {
			r.puts(fmt.Sprint("p", n), "010-2222-2222")
		}
		before, looked := r.progress, r.LookedAt()
		for _, fault := range []fhirsim.Fault{{Status: http.StatusInternalServerError}, {Close: true}, {Truncate: true}, {Status: http.StatusOK, Body: "<html>", ContentType: "text/html"}} {
			fault.On, fault.After = fhirsim.OnSearch, 1 // the first page is shown
			r.server.SetFault("", fault)
			r.clock.Pass(time.Second)
			if _, err := r.poll(t.Context()); err == nil {
				t.Fatalf("a poll that broke off has looked: %+v", fault)
			}
			if r.progress.encode() != before.encode() || !r.LookedAt().Equal(looked) {
				t.Fatalf("a poll that broke off has come from %+v to %+v", before, r.progress)
			}
		}
		r.server.ClearFaults()
		r.looks()
		for n := range patients {
			r.wants("after the next poll", fmt.Sprint("p", n), "010-2222-2222")
		}
		if !r.LookedAt().Equal(r.clock.Now()) {
			t.Errorf("looked at %v, now is %v", r.LookedAt(), r.clock.Now())
		}
	})
}

// What was committed later than the overlap of two polls is found by a wide poll.
func TestWhatIsCommittedLateIsFoundByTheWidePoll(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, habits fhirsim.Habits) {
		r := newRig(t, habits)
		r.puts("a", "010-1111-1111")
		r.puts("b", "010-1111-1111")
		r.walks()
		r.looks()
		r.clock.Pass(2 * time.Minute)
		commit := r.server.PutLate([]byte(patientOf("a", "010-2222-2222")))
		for range 4 {
			r.clock.Pass(time.Minute)
			r.puts("b", fmt.Sprint("010-3333-", r.clock.Now().Unix())) // polls begin behind this
			if r.progress.WideAt.Add(r.StaleAfter).After(r.clock.Now().Add(time.Second)) {
				r.looks()
			}
		}
		if err := commit(); err != nil {
			t.Fatal(err)
		}
		for !r.progress.WideAt.Equal(r.clock.Now()) {
			r.clock.Pass(30 * time.Second)
			r.looks()
		}
		r.wants("after a wide poll", "a", "010-2222-2222")
	})
}

// Whatever the server's clock does between two polls, the next one finds what was changed.
// (Of a patient that was changed before and after the clock was set back, version ids
// without an order do not tell which version is the newer one: a walk through all does.)
func TestAServersClockThatJumps(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, habits fhirsim.Habits) {
		r := newRig(t, habits)
		r.puts("a", "before")
		r.puts("b", "before")
		r.walks()
		r.looks()
		for n, jump := range []time.Duration{time.Hour, -2 * time.Hour, 30 * time.Second, -8 * time.Second, -time.Minute, 26 * time.Hour, -26 * time.Hour, -time.Second} {
			a, b := "a", "b"
			if habits.UUIDVersions {
				a, b = fmt.Sprint("a", n), fmt.Sprint("b", n)
			}
			r.clock.Pass(7 * time.Second)
			r.puts(a, fmt.Sprint("a-", n)) // before the jump
			r.clock.Pass(time.Second)
			r.jump(jump)
			r.puts(b, fmt.Sprint("b-", n)) // after it
			r.looks()
			r.wants(fmt.Sprintf("jump %d by %v", n, jump), a, fmt.Sprint("a-", n))
			r.wants(fmt.Sprintf("jump %d by %v", n, jump), b, fmt.Sprint("b-", n))
		}
	})
}

// A cache that was filled from a file is followed from its newest lastUpdated on.
func TestAnImportedCacheIsFollowedFromItsNewest(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	newest := r.clock.Now().Add(-time.Hour)
	state := db.FHIRState{FamilyName: "Kim", Phone: "010-1111-1111", FHIRUpdatedAt: newest}
	if _, err := r.store.ImportPatients(t.Context(), []db.NewPatient{{FHIRID: "a", State: state}}, newest); err != nil {
		t.Fatal(err)
	}
	r.clock.Pass(-30 * time.Minute)
	r.puts("a", "010-2222-2222")
	r.clock.Pass(30 * time.Minute)
	r.lead()
	if !r.progress.From.Equal(newest) {
		t.Errorf("it is followed from %v, the newest is of %v", r.progress.From, newest)
	}
	r.looks() // before any walk
	r.wants("after the first poll", "a", "010-2222-2222")
}

func TestAnEmptyServerGetsItsFirstPatient(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, habits fhirsim.Habits) {
		r := newRig(t, habits)
		r.looks() // where to begin is not known yet
		if !r.LookedAt().IsZero() {
			t.Errorf("looked at %v", r.LookedAt())
		}
		if result := r.walks(); result != (Result{}) || !r.Filled() {
			t.Errorf("%+v, filled %v", result, r.Filled())
		}
		r.looks()
		r.puts("a", "010-1111-1111")
		r.looks()
		r.wants("after a poll", "a", "010-1111-1111")
		if !r.LookedAt().Equal(r.clock.Now()) {
			t.Errorf("looked at %v", r.LookedAt())
		}
	})
}

// Without a way to ask for changes, a walk through all that ends is the look.
func TestAServerThatTellsNoChanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.PlainR4())
	refusal := &fhir.Error{Kind: fhir.CannotApply, Op: fhir.OpSearch, Cause: fhir.NotFollowable}
	r.fhir.following = func(context.Context) (fhir.Following, error) { return fhir.Following{}, refusal }
	r.fhir.changed = func(context.Context, time.Time) iter.Seq2[fhir.Listing, error] {
		return func(yield func(fhir.Listing, error) bool) { yield(fhir.Listing{}, refusal) }
	}
	r.puts("a", "010-1111-1111")
	r.puts("b", "010-1111-1111")
	r.walks()
	r.looks()
	if !r.LookedAt().IsZero() || !r.progress.Alone {
		t.Errorf("looked at %v, alone %v", r.LookedAt(), r.progress.Alone)
	}
	r.clock.Pass(time.Minute)
	r.puts("a", "010-2222-2222")
	r.server.Delete("b")
	if r.untilSweep() != 0 {
		t.Errorf("the next walk has time for %v", r.untilSweep())
	}
	began := r.clock.Now()
	r.walks()
	if !r.LookedAt().Equal(began) {
		t.Errorf("looked at %v, the walk began at %v", r.LookedAt(), began)
	}
	r.wants("after a walk", "a", "010-2222-2222")
	r.wants("after a walk", "b", "")

	doubt, err := r.newBatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doubt.fill.Unusable = []string{"a"}
	if err := doubt.store(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	r.looks()
	if !r.row("a").UnseenSince.IsZero() {
		t.Error("who is to be read was not read")
	}

	// One that breaks off has not looked, and nor has the one that goes on: who was shown
	// before is not known any more.
	r.clock.Pass(time.Minute)
	for n := range 300 {
		r.puts(fmt.Sprint("p", n), "010-1111-1111")
	}
	r.server.SetFault("", fhirsim.Fault{On: fhirsim.OnSearch, After: 1, Times: 1, Status: http.StatusInternalServerError})
	if _, err := r.sweep(t.Context(), areTooMany, func(Result) {}); err == nil {
		t.Fatal("the walk did not break off")
	}
	r.walks()
	if !r.LookedAt().Equal(began) {
		t.Errorf("looked at %v by a walk that had broken off", r.LookedAt())
	}
	if r.untilSweep() != 0 {
		t.Errorf("the next walk has time for %v", r.untilSweep())
	}
	r.walks()
	if !r.LookedAt().Equal(r.clock.Now()) {
		t.Errorf("looked at %v", r.LookedAt())
	}
}

// A patient that cannot be used is named once, and what the cache has of it is doubtful
// until it can.
func TestAPatientThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	r.puts("a", "010-1111-1111")
	r.puts("b", "010-1111-1111")
	r.walks()
	r.looks()
	broken := strings.Replace(patientOf("a", "010-2222-2222"), `"telecom":[`, `"telecom":"secret","x":[`, 1)
	if err := r.server.Put([]byte(broken)); err != nil {
		t.Fatal(err)
	}
	r.puts("b", "010-2222-2222")
	for range 3 {
		r.looks()
		r.clock.Pass(longestWait)
	}
	r.walks()
	r.wants("beside it", "b", "010-2222-2222")
	r.wants("as it was", "a", "010-1111-1111")
	if row := r.row("a"); row.UnseenSince.IsZero() {
		t.Errorf("%+v", row)
	}
	if n, text := strings.Count(r.log.String(), "fhirId=a"), r.log.String(); n != 1 || strings.Contains(text, "secret") || strings.Contains(text, "010-") {
		t.Errorf("told %d times: %s", n, text)
	}
	r.puts("a", "010-3333-3333")
	r.clock.Pass(longestWait)
	r.looks()
	r.wants("mended", "a", "010-3333-3333")
	if row := r.row("a"); !row.UnseenSince.IsZero() {
		t.Errorf("%+v", row)
	}
}

// A patient that is too long to be shown is one that cannot be used, also where the server
// does not know _elements. Each way to see him says so.
func TestAPatientThatIsTooLong(t *testing.T) {
	t.Parallel()
	long := strings.Replace(patientOf("a", "010-2222-2222"), `"name":[`, `"photo":[{"data":"`+strings.Repeat("x", 10<<20)+`"}],"name":[`, 1)
	for way, looks := range map[string]func(*rig) Result{
		"first fill": func(r *rig) Result { return r.walks() },
		"changes":    func(r *rig) Result { return r.looks() },
		"sweep":      func(r *rig) Result { return r.walks() },
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, fhirsim.HAPI())
			r.drop.Store("_elements")
			r.puts("b", "010-1111-1111")
			if way == "first fill" { // the cache has the patient from a file
				n := db.NewPatient{Number: "N-a", FHIRID: "a", State: db.FHIRState{Phone: "010-1111-1111"}}
				if _, err := r.store.ImportPatients(t.Context(), []db.NewPatient{n}, r.clock.Now()); err != nil {
					t.Fatal(err)
				}
			} else {
				r.puts("a", "010-1111-1111")
				r.walks()
				r.looks()
			}
			r.clock.Pass(time.Hour)
			if err := r.server.Put([]byte(long)); err != nil {
				t.Fatal(err)
			}
			r.puts("b", "010-2222-2222")
			r.clock.Pass(time.Minute)
			if result := looks(r); result.Bad == 0 {
				t.Errorf("counted %+v", result)
			}
			r.wants("beside it", "b", "010-2222-2222")
			r.wants("as it was", "a", "010-1111-1111")
			if row := r.row("a"); row.UnseenSince.IsZero() {
				t.Errorf("SYNCED: %+v", row)
			}
			if text := r.log.String(); strings.Count(text, "fhirId=a ") != 1 || strings.Contains(text, "010-") {
				t.Errorf("told: %s", text)
			}
		})
	}
}

// A patient that cannot be read is tried again, more and more seldom; it holds up nobody.
func TestAPatientThatCannotBeReadIsTriedMoreSeldom(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	r.puts("a", "010-1111-1111")
	r.puts("b", "010-1111-1111")
	r.walks()
	r.looks()
	doubt := func() {
		t.Helper()
		fill := db.Fill{Owner: r.owner, AskedAt: r.clock.Now(), Unusable: []string{"a", "b"}}
		if _, err := r.store.FillPatients(t.Context(), nil, r.clock.Now(), fill); err != nil {
			t.Fatal(err)
		}
	}
	doubt()
	var failure error = &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Status: http.StatusInternalServerError}
	var tried []time.Time
	r.fhir.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if id == "a" {
			tried = append(tried, r.clock.Now())
			return fhir.Resource{}, failure
		}
		return r.fhir.Client.Read(ctx, id)
	}
	for range 250 {
		r.clock.Pass(3 * time.Second)
		r.looks()
	}
	if row := r.row("b"); !row.UnseenSince.IsZero() {
		t.Errorf("held up: %+v", row)
	}
	for n := 2; n < len(tried); n++ {
		gap, before := tried[n].Sub(tried[n-1]), tried[n-1].Sub(tried[n-2])
		if gap < before || gap < min(2*before-4*time.Second, longestWait) || gap > longestWait+4*time.Second {
			t.Errorf("tried again after %v, and then after %v", before, gap)
		}
	}
	if len(tried) < 7 || len(tried) > 12 {
		t.Errorf("tried %d times in 1000 s", len(tried))
	}
	failure = &fhir.Error{Kind: fhir.AuthFailed, Op: fhir.OpRead} // that is not about the patient
	r.clock.Pass(longestWait)
	if _, err := r.poll(t.Context()); err == nil {
		t.Error("a poll that may not read has looked")
	}
	r.fhir.read = nil
	r.looks()
	if row := r.row("a"); !row.UnseenSince.IsZero() {
		t.Errorf("%+v", row)
	}
}

// A look counts once, also where it ended and a read of a single patient after it failed.
func TestALookCountsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, fhirsim.HAPI())
	r.Interval = time.Millisecond
	r.puts("a", "010-1111-1111")
	r.walks()
	r.looks()
	before := r.outcomes()
	fill := db.Fill{Owner: r.owner, AskedAt: r.clock.Now(), Unusable: []string{"a"}}
	if _, err := r.store.FillPatients(t.Context(), nil, r.clock.Now(), fill); err != nil {
		t.Fatal(err)
	}
	r.fhir.read = func(context.Context, string) (fhir.Resource, error) {
		return fhir.Resource{}, &fhir.Error{Kind: fhir.AuthFailed, Op: fhir.OpRead}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	looks := 0
	r.pollAgainAndAgain(ctx, func(Result) {
		if looks++; looks == 3 { // which is not counted
			stop()
		}
	})
	if after := r.outcomes(); after != [2]float64{before[0], before[1] + 2} {
		t.Errorf("ok and failed: %v, then %v", before, after)
	}
	r.fhir.read = nil
	r.looks()
	if after := r.outcomes(); after != [2]float64{before[0] + 1, before[1] + 2} {
		t.Errorf("ok and failed: %v, then %v", before, after)
	}
}

// outcomes counts the looks that were ok, and those that failed.
func (r *rig) outcomes() (n [2]float64) {
	r.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.metrics.polls)
	families, err := registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetLabel()[0].GetValue() == "ok" {
			n[0] = m.GetCounter().GetValue()
		} else {
			n[1] = m.GetCounter().GetValue()
		}
	}
	return n
}
