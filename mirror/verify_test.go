package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"patientgraph/app/apptest"
	"patientgraph/db"
	"patientgraph/db/dbtest"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/internal/wait"
	"patientgraph/mirror"
)

// cache is a real one, with what the mirror says of itself.
type cache struct {
	*db.Store
	looked   func() time.Time
	progress string
	gone     map[string]bool // tombstones, by FHIR id
}

func (c *cache) Mirror(context.Context) (db.Mirror, error) {
	return db.Mirror{LookedAt: c.looked(), Progress: c.progress, Led: true}, nil
}

func (c *cache) CachedPatient(ctx context.Context, fhirID string) (*db.CachedPatient, error) {
	row, err := c.Store.CachedPatient(ctx, fhirID)
	if row != nil {
		if c.gone[fhirID] {
			row.GoneAt = row.LastSyncedAt
		}
	}
	return row, err
}

// verifyRig is a cache that was filled from a FHIR server, whose clock is ours.
type verifyRig struct {
	*mirror.Verifier
	t     *testing.T
	clock *wait.Clock
	FHIR  *fhirsim.Server
	cache *cache
	at    string // the database
}

func newVerifyRig(t *testing.T, databaseURL string, fhirIDs ...string) *verifyRig {
	t.Helper()
	r := &verifyRig{t: t, clock: wait.NewClock(time.Now().Truncate(time.Second)), at: databaseURL}
	r.FHIR = fhirsim.New(fhirsim.Options{Habits: fhirsim.HAPI(), Now: r.clock.Now})
	base, stop, err := r.FHIR.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	client, err := fhir.NewClient(fhir.Options{BaseURL: base, Server: "hapi"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	store, err := db.Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.cache = &cache{Store: store, looked: func() time.Time { return time.Time{} }, gone: map[string]bool{}}
	r.Verifier = &mirror.Verifier{FHIR: client, Store: r.cache, PatientIDSystem: fhirsim.DemoIdentifierSystem, StaleAfter: 5 * time.Minute, Now: r.clock.Now}
	for n, id := range fhirIDs {
		r.put(id, number(n))
	}
	r.fill()
	return r
}

func number(n int) string { return fmt.Sprintf("P-2025-%06d", n) }

// put stores a patient on the server, with changes of its text in turn.
func (r *verifyRig) put(id, number string, changes ...string) {
	r.t.Helper()
	if err := r.FHIR.Put([]byte(strings.NewReplacer(changes...).Replace(apptest.PatientJSON(id, number)))); err != nil {
		r.t.Fatal(err)
	}
}

// fill takes every patient of the server into the cache.
func (r *verifyRig) fill() {
	r.t.Helper()
	var lines []string
	for _, id := range r.FHIR.IDs() {
		if resource, _, ok := r.FHIR.Get(id); ok {
			lines = append(lines, string(resource))
		}
	}
	if len(lines) == 0 {
		return
	}
	i := mirror.NewImport(r.cache.Store, mirror.ImportOptions{PatientIDSystem: r.PatientIDSystem, Now: r.clock.Now, BadLine: func(_ string, _ int, err error) { r.t.Error(err) }})
	if err := i.Read(r.t.Context(), "", strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		r.t.Fatal(err)
	}
}

// looks sets when the mirror's last look began.
func (r *verifyRig) looks(at time.Time) { r.cache.looked = func() time.Time { return at } }

// sql changes the database by hand.
func (r *verifyRig) sql(text string) {
	r.t.Helper()
	if _, err := dbtest.Open(r.t, r.at).Exec(text); err != nil {
		r.t.Fatal(err)
	}
}

// verify compares every row, and returns the differences by patient, one line each.
func (r *verifyRig) verify() (map[string]string, mirror.VerifyResult) {
	r.t.Helper()
	told, looked := map[string]string{}, 0
	result, err := r.Verify(r.t.Context(), r.All(r.t.Context()), func(d mirror.Difference) {
		told[d.Patient] = strings.TrimSpace(strings.Join(append([]string{string(d.Kind)}, d.Fields...), " ") + " " + d.Why)
	}, func() { looked++ })
	if err != nil {
		r.t.Fatal(err)
	}
	if looked != result.Rows {
		r.t.Errorf("%d of %d rows were told", looked, result.Rows)
	}
	return told, result
}

func (r *verifyRig) want(want map[string]string, ok bool) {
	r.t.Helper()
	told, result := r.verify()
	if !maps.Equal(told, want) {
		r.t.Errorf("told %v, want %v", told, want)
	}
	if result.OK() != ok || result.Same+len(want) != result.Rows {
		r.t.Errorf("%+v, ok is to be %v", result, ok)
	}
}

func TestVerifyTellsWhatADifferenceMeans(t *testing.T) {
	t.Parallel()
	const phone = `"010-1111-2222"`
	none := map[string]string{}
	for name, c := range map[string]struct {
		happens func(r *verifyRig)
		want    map[string]string
		ok      bool
	}{
		"nothing": {func(r *verifyRig) { r.clock.Pass(time.Hour) }, none, true},
		"changed after the last look": {func(r *verifyRig) {
			r.looks(r.clock.Now())
			r.clock.Pass(time.Second)
			r.put("a", number(0), phone, `"010-5555-6666"`)
		}, map[string]string{number(0): "behind phone"}, true},
		"changed after the row was filled, and nobody follows": {func(r *verifyRig) {
			r.clock.Pass(2 * time.Minute)
			r.put("a", number(0), phone, `"010-5555-6666"`)
		}, map[string]string{number(0): "behind phone"}, true},
		"changed, and the mirror has looked since": {func(r *verifyRig) {
			r.put("b", number(1), phone, `"010-5555-6666"`, "Main St", "Side St", "old@", "new@", "02-111-2222", "02-111-3333")
			r.clock.Pass(10 * time.Minute)
			r.looks(r.clock.Now())
		}, map[string]string{number(1): "wrong phone email address otherPhones"}, false},
		"changed just before the last look": {func(r *verifyRig) {
			r.clock.Pass(time.Hour)
			r.put("a", number(0), phone, `"010-5555-6666"`)
			r.clock.Pass(30 * time.Second)
			r.looks(r.clock.Now())
		}, map[string]string{number(0): "behind phone"}, true},
		"only the version changed": {func(r *verifyRig) {
			r.put("b", number(1), `"kept":true`, `"kept":false`)
			r.clock.Pass(10 * time.Minute)
			r.looks(r.clock.Now())
		}, none, true},
		"another number": {func(r *verifyRig) {
			r.put("b", "P-2025-000077")
			r.clock.Pass(10 * time.Minute)
			r.looks(r.clock.Now())
		}, map[string]string{number(1): "wrong id"}, false},
		"changed, and the mirror stands still": {func(r *verifyRig) {
			r.put("a", number(0), phone, `"010-5555-6666"`)
			r.FHIR.Delete("b")
			r.clock.Pass(6 * time.Minute)
		}, map[string]string{number(0): "marked phone", number(1): "marked"}, true},
		"changed while a write is open": {func(r *verifyRig) {
			r.put("a", number(0), phone, `"010-5555-6666"`)
			r.sql(`UPDATE patients SET sync_state = 'PENDING'`)
		}, map[string]string{number(0): "marked phone"}, true},
		"deleted after the row was filled, and nobody follows": {func(r *verifyRig) { r.FHIR.Delete("c") }, map[string]string{number(2): "behind"}, true},
		"deleted after the last look": {func(r *verifyRig) {
			r.cache.progress = `{"deletes":true}`
			r.clock.Pass(time.Hour)
			r.looks(r.clock.Now())
			r.clock.Pass(4 * time.Minute)
			r.FHIR.Delete("c")
		}, map[string]string{number(2): "behind"}, true},
		"deleted, and the last look that shows it was long ago": {func(r *verifyRig) {
			r.cache.progress = `{"sweptAt":"` + r.clock.Now().Format(time.RFC3339) + `"}`
			r.FHIR.Delete("c")
			r.clock.Pass(6 * time.Minute)
			r.looks(r.clock.Now())
		}, map[string]string{number(2): "gone"}, false},
		"deleted since all were gone through": {func(r *verifyRig) {
			r.clock.Pass(time.Hour)
			r.cache.progress = `{"sweptAt":"` + r.clock.Now().Format(time.RFC3339) + `"}`
			r.clock.Pass(4 * time.Minute)
			r.looks(r.clock.Now())
			r.FHIR.Delete("c")
		}, map[string]string{number(2): "behind"}, true},
		"a tombstone":    {func(r *verifyRig) { r.FHIR.Delete("c"); r.cache.gone["c"] = true }, none, true},
		"was never gone": {func(r *verifyRig) { r.cache.gone["c"] = true; r.clock.Pass(time.Hour); r.looks(r.clock.Now()) }, map[string]string{number(2): "back"}, false},
		"was never gone, and the mirror stands still": {func(r *verifyRig) {
			r.cache.gone["c"] = true
			r.clock.Pass(time.Hour)
			r.looks(r.clock.Now())
			r.clock.Pass(time.Hour)
		}, map[string]string{number(2): "back"}, false},
		"lives again since the last look": {func(r *verifyRig) {
			r.FHIR.Delete("c")
			r.cache.gone["c"] = true
			r.looks(r.clock.Now())
			r.clock.Pass(time.Minute)
			r.put("c", number(2))
		}, map[string]string{number(2): "behind"}, true},
		"one cannot be read": {func(r *verifyRig) { r.FHIR.SetFault("c", fhirsim.Fault{Status: 500}) }, map[string]string{number(2): "unknown lost"}, true},
		"one is no patient":  {func(r *verifyRig) { r.FHIR.SetFault("c", fhirsim.Fault{Status: 200, Body: "<html>"}) }, map[string]string{number(2): "unknown unusable answer"}, true},
		"a row cannot be read": {func(r *verifyRig) { r.sql(`UPDATE patients SET address = '{' WHERE fhir_id = 'a'`) },
			map[string]string{number(0): "unknown the row cannot be read"}, true},
		"none can be read": {func(r *verifyRig) { r.FHIR.SetFault("", fhirsim.Fault{Status: 503}) },
			map[string]string{number(0): "unknown lost", number(1): "unknown lost", number(2): "unknown lost"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newVerifyRig(t, dbtest.SQLite(t), "a", "b", "c")
			c.happens(r)
			r.want(c.want, c.ok)
		})
	}
}

func TestVerifyOnEachDatabase(t *testing.T) {
	t.Parallel()
	apptest.OnEachDatabase(t, func(t *testing.T, databaseURL string) {
		r := newVerifyRig(t, databaseURL, "same", "wrong", "behind", "gone", "back", "marked")
		for n, id := range []string{"wrong", "marked"} {
			r.put(id, number([]int{1, 5}[n]), "old@", "new@")
		}
		r.clock.Pass(10 * time.Minute)
		r.looks(r.clock.Now())
		r.put("behind", number(2), "Main St", "Side St")
		r.FHIR.Delete("gone")
		r.cache.gone["back"] = true
		r.sql(`UPDATE patients SET sync_state = 'PENDING' WHERE fhir_id = 'marked'`)
		r.want(map[string]string{number(1): "wrong email", number(2): "behind address", number(3): "gone", number(4): "back", number(5): "marked email"}, false)
		for _, request := range r.FHIR.Requests() {
			if request.Method != "GET" {
				t.Errorf("%s %s", request.Method, request.Path)
			}
		}
	})
}

// readerFunc is a PatientReader.
type readerFunc func(ctx context.Context, fhirID string) (fhir.Resource, error)

func (f readerFunc) Read(ctx context.Context, fhirID string) (fhir.Resource, error) {
	return f(ctx, fhirID)
}

// TestADifferenceThatHealsIsNotTold: the row follows between the two looks.
func TestADifferenceThatHealsIsNotTold(t *testing.T) {
	t.Parallel()
	r := newVerifyRig(t, dbtest.SQLite(t), "a", "b")
	client, reads := r.Verifier.FHIR, map[string]int{}
	var mu sync.Mutex
	r.clock.Pass(time.Second)
	r.put("a", number(0), "Main St", "Side St")
	r.put("b", number(1), "Main St", "Side St")
	r.clock.Pass(2 * time.Minute)
	r.looks(r.clock.Now())
	r.Verifier.FHIR = readerFunc(func(ctx context.Context, id string) (fhir.Resource, error) {
		mu.Lock()
		defer mu.Unlock()
		resource, err := client.Read(ctx, id)
		if reads[id]++; reads[id] == 1 && id == "a" {
			i := mirror.NewImport(r.cache.Store, mirror.ImportOptions{PatientIDSystem: r.PatientIDSystem, Now: r.clock.Now})
			if err := i.Read(ctx, "", strings.NewReader(string(resource.JSON))); err != nil {
				t.Error(err)
			}
		}
		return resource, err
	})
	r.want(map[string]string{number(1): "wrong address"}, false)
}

// TestTheMirrorsNextLookIsAwaited: what it was about to put right is no fault. Of one that
// stands still, or is too slow, nothing is awaited.
func TestTheMirrorsNextLookIsAwaited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next   time.Duration
		begins time.Duration // the last look, before now
		want   map[string]string
	}{
		"it looks":        {time.Hour, time.Minute, map[string]string{number(1): "gone"}},
		"nobody looks":    {time.Hour, -1, map[string]string{number(0): "behind", number(1): "behind"}},
		"it stands still": {time.Hour, time.Hour, map[string]string{number(0): "marked", number(1): "marked"}},
		"it is too slow":  {time.Nanosecond, time.Minute, map[string]string{number(0): "behind", number(1): "behind"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newVerifyRig(t, dbtest.SQLite(t), "a", "b")
			r.NextLook, r.cache.progress = c.next, `{"deletes":true}`
			if c.begins > 0 {
				r.clock.Pass(time.Hour)
			}
			r.FHIR.Delete("a")
			r.FHIR.Delete("b")
			asked := 0
			var mu sync.Mutex
			r.cache.looked = func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked > 3 && name == "it looks" { // after the two rows
					r.cache.gone["a"] = true
					return r.clock.Now().Add(time.Second)
				}
				if c.begins < 0 {
					return time.Time{}
				}
				return r.clock.Now().Add(-c.begins)
			}
			r.want(c.want, name != "it looks")
		})
	}
}

// TestVerifyGivesUpOnAServerThatIsAway, and says why; one that fails now and then is asked on.
func TestVerifyGivesUpOnAServerThatIsAway(t *testing.T) {
	t.Parallel()
	away := &fhir.Error{Kind: fhir.NotSent, Op: fhir.OpRead, Reason: "Connection refused"}
	rows := &listed{n: 5000}
	v := &mirror.Verifier{Store: rows, Now: time.Now, FHIR: readerFunc(func(context.Context, string) (fhir.Resource, error) { return fhir.Resource{}, away })}
	result, err := v.Verify(t.Context(), v.All(t.Context()), func(mirror.Difference) {}, func() {})
	if !errors.Is(err, away) || !strings.Contains(err.Error(), "20 times in a row") || result.Rows > 30 {
		t.Errorf("%+v, %v", result, err)
	}
	n := 0
	var mu sync.Mutex
	v.FHIR = readerFunc(func(_ context.Context, id string) (fhir.Resource, error) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%10 < 5 {
			return fhir.Resource{}, away
		}
		return rows.resource(id), nil
	})
	if result, err = v.Verify(t.Context(), v.All(t.Context()), func(mirror.Difference) {}, func() {}); err != nil || result.Rows != rows.n || !result.OK() {
		t.Errorf("%+v, %v", result, err)
	}
	broken := errors.New("disk")
	rows.fail = broken
	if _, err = v.Verify(t.Context(), v.All(t.Context()), func(mirror.Difference) {}, func() {}); !errors.Is(err, broken) {
		t.Errorf("the database fails: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	rows.fail = nil
	end()
	if result, err = v.Verify(ended, v.All(ended), func(mirror.Difference) {}, func() {}); !errors.Is(err, context.Canceled) || result.Kinds[mirror.Unknown] != 0 {
		t.Errorf("interrupted: %+v, %v", result, err)
	}
}

// listed is a cache of n empty patients, which are the same on the server.
type listed struct {
	n     int
	fail  error
	pages func() // is told each page that is asked for

	once sync.Once
	ids  []string
}

func (l *listed) FHIRIDs(_ context.Context, after string, n int) ([]string, error) {
	if l.pages != nil {
		l.pages()
	}
	l.once.Do(func() {
		for k := range l.n {
			l.ids = append(l.ids, fmt.Sprintf("%07d", k))
		}
	})
	from := sort.SearchStrings(l.ids, after+"\x00")
	return l.ids[from:min(from+n, l.n)], l.fail
}

func (l *listed) CachedPatient(_ context.Context, fhirID string) (*db.CachedPatient, error) {
	return &db.CachedPatient{Patient: &db.Patient{ID: fhirID, FHIRID: fhirID, SyncState: db.Synced}}, nil
}

func (l *listed) Differing(context.Context, *db.CachedPatient, db.NewPatient) ([]string, error) {
	return nil, nil
}

func (l *listed) Mirror(context.Context) (db.Mirror, error) { return db.Mirror{}, nil }

func (l *listed) resource(id string) fhir.Resource {
	return fhir.Resource{ID: id, JSON: []byte(`{"resourceType":"Patient","id":"` + id + `"}`)}
}

// TestVerifyKeepsFewRowsInMemory: a page of ids is asked for when those before it were
// compared, but for a handful.
func TestVerifyKeepsFewRowsInMemory(t *testing.T) {
	t.Parallel()
	const handful = 8
	rows := &listed{n: 10_000}
	v := &mirror.Verifier{Store: rows, Now: time.Now, FHIR: readerFunc(func(_ context.Context, id string) (fhir.Resource, error) { return rows.resource(id), nil })}
	var mu sync.Mutex
	pages, compared := 0, 0
	rows.pages = func() {
		mu.Lock()
		defer mu.Unlock()
		if compared < pages*2000-handful {
			t.Errorf("page %d is asked for after %d rows", pages, compared)
		}
		pages++
	}
	result, err := v.Verify(t.Context(), v.All(t.Context()), func(mirror.Difference) {}, func() {
		mu.Lock()
		defer mu.Unlock()
		compared++
	})
	if err != nil || result.Same != rows.n || pages < 5 {
		t.Errorf("%+v, %d pages, %v", result, pages, err)
	}
}

// TestASampleIsOfAllRows, each as likely as any other, and none twice.
func TestASampleIsOfAllRows(t *testing.T) {
	t.Parallel()
	rows := &listed{n: 4500}
	v := &mirror.Verifier{Store: rows}
	parts := make([]int, 3)
	for range 20 {
		sample := collect(t, v.Sample(t.Context(), 100))
		if len(sample) != 100 || len(slices.Compact(slices.Sorted(slices.Values(sample)))) != 100 {
			t.Fatalf("%d rows, or one twice", len(sample))
		}
		for _, id := range sample {
			n := 0
			if _, err := fmt.Sscanf(id, "%d", &n); err != nil {
				t.Fatal(err)
			}
			parts[n/1500]++
		}
	}
	for part, n := range parts {
		if n < 450 { // of 667 on average, with a deviation of 21
			t.Errorf("part %d was picked from %d times", part, n)
		}
	}
	if all := collect(t, v.Sample(t.Context(), 5000)); len(all) != rows.n {
		t.Errorf("%d of %d rows where more are asked for", len(all), rows.n)
	}
}

func collect(t *testing.T, ids iter.Seq2[string, error]) (all []string) {
	t.Helper()
	for id, err := range ids {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}
