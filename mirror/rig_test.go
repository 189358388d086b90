package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/locked"
	"patientgraph/internal/wait"
)

// between stands between a Mirror and the FHIR server.
type between struct {
	*fhir.Client
	list      func(ctx context.Context, from string) iter.Seq2[fhir.Listing, error]
	changed   func(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error]
	following func(ctx context.Context) (fhir.Following, error)
	read      func(ctx context.Context, id string) (fhir.Resource, error)
}

func (b *between) List(ctx context.Context, from string) iter.Seq2[fhir.Listing, error] {
	if b.list != nil {
		return b.list(ctx, from)
	}
	return b.Client.List(ctx, from)
}

func (b *between) Changed(ctx context.Context, since time.Time) iter.Seq2[fhir.Listing, error] {
	if b.changed != nil {
		return b.changed(ctx, since)
	}
	return b.Client.Changed(ctx, since)
}

func (b *between) Following(ctx context.Context) (fhir.Following, error) {
	if b.following != nil {
		return b.following(ctx)
	}
	return b.Client.Following(ctx)
}

func (b *between) Read(ctx context.Context, id string) (fhir.Resource, error) {
	if b.read != nil {
		return b.read(ctx, id)
	}
	return b.Client.Read(ctx, id)
}

// rig is a Mirror that leads, of a FHIR server and a cache that are empty.
type rig struct {
	*Mirror
	t      *testing.T
	clock  *wait.Clock // every clock of the rig follows it
	server *fhirsim.Server
	fhir   *between
	store  *db.Store
	log    locked.Buffer
	jumped atomic.Int64 // how far the server's clock is ahead
	drop   atomic.Value // the parameter that the server does not know; nil: none
}

func newRig(t *testing.T, habits fhirsim.Habits) *rig { return newRigOn(t, dbtest.SQLite(t), habits) }

func newRigOn(t *testing.T, databaseURL string, habits fhirsim.Habits) *rig {
	t.Helper()
	r := &rig{t: t, clock: wait.NewClock(time.Now().Truncate(time.Second))}
	r.server = fhirsim.New(fhirsim.Options{Habits: habits, Now: r.clock.Now})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Date", r.clock.Now().Add(time.Duration(r.jumped.Load())).UTC().Format(http.TimeFormat))
		if name, is := r.drop.Load().(string); is {
			query := q.URL.Query()
			query.Del(name)
			q.URL.RawQuery = query.Encode()
		}
		r.server.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	base := server.URL + "/fhir"
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, Server: "auto"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if r.store, err = db.Open(t.Context(), databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.store.Close() })
	if err := r.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.fhir = &between{Client: client}
	r.Mirror = r.another(base)
	r.lead()
	return r
}

// another is one more Mirror of the same cache.
func (r *rig) another(base string) *Mirror {
	return New(Config{FHIR: r.fhir, Cache: r.store, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: r.clock.Now, NewID: func() string { return base },
		Base: base, Interval: time.Second, StaleAfter: 5 * time.Minute, PatientIDSystem: fhirsim.DemoIdentifierSystem})
}

// lead takes up the work as a process does that has just started.
func (r *rig) lead() {
	r.t.Helper()
	if _, err := r.store.LeadMirror(r.owner, time.Minute, true); err != nil {
		r.t.Fatal(err)
	}
	if err := r.begin(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.Refresh(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// looks polls a second later, and makes the wide poll if one is due; both must work.
func (r *rig) looks() Result {
	r.t.Helper()
	r.clock.Pass(time.Second)
	result, err := r.poll(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	late, err := r.pollWide(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	result.add(late)
	return result
}

// walks goes through all patients, which must work.
func (r *rig) walks() Result {
	r.t.Helper()
	result, err := r.sweep(r.t.Context(), areTooMany, func(Result) {})
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

// patientOf is a Patient with a phone.
func patientOf(id, phone string) string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":%q,"identifier":[{"system":%q,"value":"N-%s"}],"name":[{"family":"Kim"}],"gender":"female","birthDate":"1990-01-01","telecom":[{"system":"phone","use":"mobile","value":%q}]}`,
		id, fhirsim.DemoIdentifierSystem, id, phone)
}

func (r *rig) puts(id, phone string) {
	r.t.Helper()
	if err := r.server.Put([]byte(patientOf(id, phone))); err != nil {
		r.t.Fatal(err)
	}
}

// row reads a patient of the cache, nil if there is none.
func (r *rig) row(id string) *db.Patient {
	r.t.Helper()
	row, err := r.store.CachedPatient(r.t.Context(), id)
	if errors.Is(err, db.ErrNotFound) {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return row.Patient
}

// jump sets the server's clock forward, or back.
func (r *rig) jump(by time.Duration) {
	r.server.JumpClock(by)
	r.jumped.Add(int64(by))
}

// wants compares the phone that the cache shows of a patient, "" for none.
func (r *rig) wants(when, id, phone string) {
	r.t.Helper()
	got := ""
	if row := r.row(id); row != nil && row.GoneAt.IsZero() {
		got = row.Phone
	}
	if got != phone {
		r.t.Errorf("%s: %s has %q, want %q", when, id, got, phone)
	}
}

// requests counts those that do runs into.
func (r *rig) requests(do func()) (list []string) {
	before := len(r.server.Requests())
	do()
	for _, q := range r.server.Requests()[before:] {
		list = append(list, strings.TrimSuffix(q.Method+" "+q.Path+"?"+q.Query, "?"))
	}
	return list
}
