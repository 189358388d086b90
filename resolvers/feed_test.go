package resolvers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"patientgraph/auth"
	"patientgraph/db"
	"patientgraph/graph"
	"patientgraph/internal/wait"
)

// stopping is a Writer that only stops.
type stopping struct {
	Writer
	stopped chan struct{}
}

func (s stopping) Stopping() <-chan struct{} { return s.stopped }

// following are the resolvers over a cache, and another process on the same one.
type following struct {
	*Resolver
	other *db.Store
	stop  func()
	now   atomic.Int64
}

func opened(t *testing.T, path string) *db.Store {
	t.Helper()
	store, err := db.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

// follows starts with the patients P-1 and P-2.
func follows(t *testing.T) *following {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cache")
	stopped := make(chan struct{})
	f := &following{other: opened(t, path), stop: func() { close(stopped) }}
	f.now.Store(testTime.UnixNano())
	f.Resolver = &Resolver{
		Store: opened(t, path), Writer: stopping{stopped: stopped}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(0, f.now.Load()) },
	}
	f.imports(t, db.NewPatient{Number: "P-1", FHIRID: "a1"}, db.NewPatient{Number: "P-2", FHIRID: "a2"})
	return f
}

func (f *following) imports(t *testing.T, patients ...db.NewPatient) {
	t.Helper()
	if _, err := f.other.ImportPatients(t.Context(), patients, testTime); err != nil {
		t.Fatal(err)
	}
}

func (f *following) bloodType(t *testing.T, store *db.Store, id, bloodType string) {
	t.Helper()
	if _, err := store.SetProfile(id, db.ProfileEdit{SetBloodType: true, BloodType: bloodType}, 0, testTime); err != nil {
		t.Fatal(err)
	}
}

// subscribe begins a subscription that must be taken.
func (f *following) subscribe(t *testing.T, v auth.Viewer, id string) <-chan *graph.Patient {
	t.Helper()
	return f.events(t.Context(), t, v, id)
}

func (f *following) events(ctx context.Context, t *testing.T, v auth.Viewer, id string) <-chan *graph.Patient {
	t.Helper()
	events, _, err := told(ctx, func(ctx context.Context) (<-chan *graph.Patient, error) {
		feed, err := f.follow(ctx, v, id, []db.Column{db.ColBloodType, db.ColPhone})
		if err != nil {
			return nil, err
		}
		return feed.send(ctx, func() {}), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func wantEvent(t *testing.T, events <-chan *graph.Patient, bloodType string) {
	t.Helper()
	p, open := <-events
	if !open || p == nil || value(p.BloodType) != bloodType {
		t.Fatalf("told %+v (open: %v), want blood type %q", p, open, bloodType)
	}
}

func TestChangesAreToldFromWhicheverProcess(t *testing.T) {
	t.Parallel()
	f := follows(t)
	store := f.Store.(*db.Store)
	f.bloodType(t, store, "P-1", "before") // it is no news to who subscribes afterwards
	one, two, other := f.subscribe(t, subscriber("a"), "P-1"), f.subscribe(t, subscriber("b"), " P-1"), f.subscribe(t, subscriber("a"), "P-2")
	for n, writer := range []*db.Store{f.other, store, f.other} {
		f.bloodType(t, writer, "P-1", fmt.Sprint(n))
		wantEvent(t, one, fmt.Sprint(n))
		wantEvent(t, two, fmt.Sprint(n))
	}
	f.imports(t, db.NewPatient{Number: "P-1", FHIRID: "a1", State: db.FHIRState{Phone: "5", FHIRUpdatedAt: testTime}})
	if p := <-one; value(p.Phone) != "5" {
		t.Errorf("after an import: told %+v", p)
	}
	f.bloodType(t, f.other, "P-2", "its first")
	wantEvent(t, other, "its first")
}

// The head of a stream leaves before the subscription is there: what the client
// changes in between is told.
func TestWhatChangesAsASubscriptionBeginsIsTold(t *testing.T) {
	t.Parallel()
	f := follows(t)
	f.bloodType(t, f.other, "P-1", "at once") // at testTime
	for came, told := range map[time.Time]bool{testTime.Add(-time.Second): true, testTime.Add(123): true, testTime.Add(time.Second): false} {
		ctx := graphql.WithOperationContext(t.Context(), &graphql.OperationContext{Stats: graphql.Stats{Read: graphql.TraceTiming{Start: came}}})
		events := f.events(ctx, t, subscriber("a"), "P-1")
		if told {
			wantEvent(t, events, "at once")
		}
		f.bloodType(t, f.other, "P-1", "later")
		wantEvent(t, events, "later")
		f.bloodType(t, f.other, "P-1", "at once")
		wantEvent(t, events, "at once")
	}
}

func TestWhoIsSlowHearsTheNewestAndKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	f := follows(t)
	quick, slow := f.subscribe(t, subscriber("a"), "P-1"), f.subscribe(t, subscriber("b"), "P-1")
	for n := range 20 {
		f.bloodType(t, f.other, "P-1", fmt.Sprint(n))
		wantEvent(t, quick, fmt.Sprint(n))
	}
	for told := ""; told != "19"; { // it may have been about to tell an older one
		p := <-slow
		if told != "" && value(p.BloodType) != "19" {
			t.Fatalf("told %s after %s", *p.BloodType, told)
		}
		told = *p.BloodType
	}
	select {
	case p := <-slow:
		t.Errorf("and then %+v", p)
	default:
	}
}

// A number moves on with its patient, and then another gets it: who may not see that
// one hears null, once, and nothing of its changes.
func TestRightsAreAskedForEachEvent(t *testing.T) {
	t.Parallel()
	f := follows(t)
	parent := auth.Viewer{Role: auth.RolePatient, PatientClaim: []string{"a1"}, FHIRIDs: []string{"a1"}, PatientIDs: []string{"P-1"}, Expires: testTime.Add(time.Hour)}
	own, all := f.subscribe(t, parent, "P-1"), f.subscribe(t, subscriber("a"), "P-1")
	later := testTime.Add(time.Hour)
	f.imports(t, db.NewPatient{Number: "P-9", NumberSystem: "urn:mrn", FHIRID: "a1", State: db.FHIRState{FHIRUpdatedAt: later}})
	for _, events := range []<-chan *graph.Patient{own, all} {
		if p := <-events; p == nil || p.ID != "P-9" {
			t.Fatalf("told %+v after the number has moved", p)
		}
	}
	f.imports(t, db.NewPatient{Number: "P-1", NumberSystem: "urn:mrn", FHIRID: "a2", State: db.FHIRState{FHIRUpdatedAt: later}})
	if p := <-all; p == nil || p.ID != "P-1" || value(p.FhirID) != "a2" {
		t.Fatalf("told %+v when another patient got the number", p)
	}
	if p, open := <-own; p != nil || !open {
		t.Fatalf("told %+v (open: %v) of another patient's record, want null", p, open)
	}
	for n := range 3 {
		f.bloodType(t, f.other, "P-1", fmt.Sprint(n))
		wantEvent(t, all, fmt.Sprint(n))
	}
	select {
	case p := <-own:
		t.Errorf("told %+v of another patient", p)
	default:
	}
}

func TestPatientsThatNobodyMaySeeAreNotFollowed(t *testing.T) {
	t.Parallel()
	f := follows(t)
	said := map[string]bool{}
	for id, v := range map[string]auth.Viewer{
		"P-3": subscriber("a"), "P-2": {Role: auth.RolePatient, PatientIDs: []string{"P-1"}, Expires: testTime.Add(time.Hour)},
		"P-1": {Role: "stranger", Expires: testTime.Add(time.Hour)}, strings.Repeat("x", maxID+1): subscriber("a"), "": subscriber("a"),
	} {
		_, err := f.follow(t.Context(), v, id, nil)
		if codeOf(err) != CodeBadUserInput {
			t.Errorf("%.20q: %v", id, err)
			continue
		}
		said[err.Error()] = true
	}
	if len(said) != 1 || len(f.changes.followers)+len(f.changes.byName) > 0 {
		t.Errorf("said %v; %d are followed", said, len(f.changes.byName))
	}
}

func TestFollowingEnds(t *testing.T) {
	t.Parallel()
	ended := func(t *testing.T, f *following, events <-chan *graph.Patient) {
		t.Helper()
		if p, open := <-events; open {
			t.Errorf("told %+v", p)
		}
		f.changes.mu.Lock()
		defer f.changes.mu.Unlock()
		if len(f.changes.followers)+len(f.changes.byName) > 0 {
			t.Errorf("%d are still followed", len(f.changes.byName))
		}
	}
	t.Run("with the client", func(t *testing.T) {
		t.Parallel()
		f := follows(t)
		ctx, leave := context.WithCancel(t.Context())
		events := f.events(ctx, t, subscriber("a"), "P-1")
		leave()
		ended(t, f, events)
		wait.Until(t, "nothing is looked for any more", func() bool {
			f.changes.mu.Lock()
			defer f.changes.mu.Unlock()
			return !f.changes.watched
		})
		f.bloodType(t, f.other, "P-1", "meanwhile")
		again := f.subscribe(t, subscriber("a"), "P-1")
		f.bloodType(t, f.other, "P-1", "again")
		wantEvent(t, again, "again")
	})
	t.Run("with the server", func(t *testing.T) {
		t.Parallel()
		f := follows(t)
		events := f.subscribe(t, subscriber("a"), "P-1")
		f.stop()
		ended(t, f, events)
	})
	// The process stood still, so that no timer has fired yet.
	t.Run("with the token", func(t *testing.T) {
		t.Parallel()
		f := follows(t)
		events := f.subscribe(t, subscriber("a"), "P-1")
		f.now.Store(testTime.Add(time.Hour).UnixNano())
		f.bloodType(t, f.other, "P-1", "late")
		ended(t, f, events)
	})
	t.Run("with the token, while nothing changes", func(t *testing.T) {
		t.Parallel()
		f := follows(t)
		v := subscriber("a")
		v.Expires = testTime.Add(50 * time.Millisecond)
		ended(t, f, f.subscribe(t, v, "P-1"))
	})
}

// away is a cache whose database cannot be asked at times.
type away struct {
	*db.Store
	fails  atomic.Bool
	failed atomic.Int64
}

func (a *away) answer() error {
	if a.fails.Load() {
		a.failed.Add(1)
		return errors.New("the database is away")
	}
	return nil
}

func (a *away) ChangedRows(ctx context.Context, above int64, limit int) ([]db.ChangedRow, error) {
	if err := a.answer(); err != nil {
		return nil, err
	}
	return a.Store.ChangedRows(ctx, above, limit)
}

func (a *away) Patient(ctx context.Context, id string, columns ...db.Column) (*db.Patient, error) {
	if err := a.answer(); err != nil {
		return nil, err
	}
	return a.Store.Patient(ctx, id, columns...)
}

func TestChangesDuringAnOutageAreToldAfterwards(t *testing.T) {
	t.Parallel()
	f := follows(t)
	store := &away{Store: f.Store.(*db.Store)}
	f.Store = store
	events := f.subscribe(t, subscriber("a"), "P-1")
	store.fails.Store(true)
	f.bloodType(t, f.other, "P-1", "meanwhile")
	wait.Until(t, "two looks fail", func() bool { return store.failed.Load() >= 2 })
	store.fails.Store(false)
	wantEvent(t, events, "meanwhile")
	if _, err := f.follow(t.Context(), subscriber("a"), "P-2", nil); err != nil {
		t.Error(err)
	}
}

// However many rows change, those of the followed patients are told.
func TestAFollowedPatientAmongManyChanges(t *testing.T) {
	t.Parallel()
	f := follows(t)
	events := f.subscribe(t, subscriber("a"), "P-1")
	var many []db.NewPatient
	for n := range 2*rowsAtOnce + 10 {
		many = append(many, db.NewPatient{Number: fmt.Sprint("A-", n), FHIRID: fmt.Sprint("m", n)})
	}
	f.imports(t, many...)
	f.bloodType(t, f.other, "P-1", "the last")
	wantEvent(t, events, "the last")
}

func TestCursorsOfChanges(t *testing.T) {
	t.Parallel()
	for _, seq := range []int64{0, 1, 35, 36, 1790000000000000, 1<<63 - 1} {
		cursor := changeCursor(seq)
		if again, err := changedAfter(cursor); err != nil || again != seq || len(cursor) != cursorWidth {
			t.Errorf("%d is %q, and that %d (%v)", seq, cursor, again, err)
		}
	}
	if changeCursor(99) >= changeCursor(100) || changeCursor(35) >= changeCursor(36) || changeCursor(1295) >= changeCursor(1296) {
		t.Error("as text they have another order")
	}
}

// A patient as it was shown may have changed since: its cursor is below that of the
// newer state, which a poll then lists.
func TestTheCursorOfWhatIsShown(t *testing.T) {
	t.Parallel()
	f := follows(t)
	store := f.Store.(*db.Store)
	shown := func(version string) string {
		return f.cursorOf(t.Context(), &graph.Patient{ID: "P-1", Version: version})
	}
	first := shown("1")
	if again := shown("1"); again != first {
		t.Errorf("%q and then %q", first, again)
	}
	f.bloodType(t, store, "P-1", "A")
	before, now := shown("1"), shown("2")
	if before < first || before >= now {
		t.Errorf("%q at first, then %q for that state and %q for the new one", first, before, now)
	}
	if of := f.cursorOf(t.Context(), &graph.Patient{ID: "P-404", Version: "1"}); of >= now+"0" || len(of) != cursorWidth {
		t.Errorf("of a patient that is gone: %q", of)
	}
}
