package writethrough_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"patientgraph/writethrough"
)

// codeOf is what the caller was told.
func codeOf(err error) writethrough.Code {
	var e *failure
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return "INTERNAL"
	}
	return "SUCCESS"
}

// trims is a server that normalises the phone that a PUT brings.
func trims(old, new []byte) []byte {
	return bytes.ReplaceAll(new, []byte("010-7777-7777"), []byte("+82 10 7777 7777"))
}

// newRigLike is newRig on a server with other habits.
func newRigLike(t *testing.T, h fhirsim.Habits) *rig {
	r := newRigOn(t, dbtest.SQLite(t), 1)
	server := fhirsim.New(fhirsim.Options{Habits: h})
	base, stop, err := server.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	now, err := r.client.Read(t.Context(), "f0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Put(now.JSON); err != nil {
		t.Fatal(err)
	}
	if r.client, err = fhir.NewClient(fhir.Options{BaseURL: base}); err != nil {
		t.Fatal(err)
	}
	r.server = server
	return r
}

// A server with versions says 200 without an ETag (a proxy strips it), and has
// made something else of the phone: told so, and never sent again.
func TestNormalisedWithoutETag(t *testing.T) {
	for _, body := range []bool{true, false} {
		t.Run(fmt.Sprint("body ", body), func(t *testing.T) {
			r := newRig(t, 1)
			r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
			n := &scriptedFHIR{Client: r.client}
			puts := 0
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				puts++
				u, err := r.client.Update(ctx, id, b, ifMatch)
				u.Resource.ETag = ""
				if !body {
					u.Resource.JSON = nil
				}
				return u, err
			}
			w := r.writer(true, n, r.store, nil)
			_, err := update(t.Context(), w, setPhone("010-7777-7777"))
			if puts != 1 || codeOf(err) != writethrough.NotSaved {
				t.Errorf("%d PUTs landed, the FHIR history has %d versions; told %s", puts, len(r.server.History("f0")), codeOf(err))
			}
		})
	}
}

// The same where each PUT makes a version, also if the answer is lost.
func TestNormalisedIsWrittenOnce(t *testing.T) {
	for _, how := range []string{"200 without ETag", "answer lost"} {
		t.Run(how, func(t *testing.T) {
			r := newRigLike(t, fhirsim.Medplum())
			r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
			n := &scriptedFHIR{Client: r.client}
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				time.Sleep(3 * time.Millisecond)
				u, err := r.client.Update(ctx, id, b, ifMatch)
				u.Resource.ETag = ""
				if err == nil && how == "answer lost" {
					return fhir.Update{}, errReset
				}
				return u, err
			}
			w := r.writer(true, n, r.store, nil)
			_, err := update(t.Context(), w, setPhone("010-7777-7777"))
			if v := len(r.server.History("f0")); v != 2 {
				t.Errorf("the history has %d versions: our write was carried out %d times; told %s (%v)", v, v-1, codeOf(err), err)
			}
		})
	}
}

// A normalised write landed, its answer was lost; then somebody else sets
// another phone, which must stay.
func TestNormalisedDoesNotOverwriteARival(t *testing.T) {
	r := newRig(t, 1)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
	n := &scriptedFHIR{Client: r.client}
	puts := 0
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		puts++
		u, err := r.client.Update(ctx, id, b, ifMatch)
		if err != nil || puts > 1 {
			return u, err
		}
		if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"02-999-9999","use":"mobile"}],"gender":"female"}`)); err != nil {
			t.Error(err)
		}
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if puts > 1 {
		now, _ := r.client.Read(t.Context(), "f0")
		t.Errorf("%d PUTs landed; the second overwrote a later write of somebody else; told %s; %s", puts, codeOf(err), now.JSON)
	}
}

// The reconciler finds what the server made of a PUT: it did take effect.
func TestNormalisedAndReconciled(t *testing.T) {
	for _, versions := range []bool{true, false} {
		t.Run(fmt.Sprint("versions ", versions), func(t *testing.T) {
			r := newRig(t, 1)
			if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"+82 10 7777 7777","use":"mobile"}],"gender":"female"}`)); err != nil {
				t.Fatal(err)
			}
			n := &scriptedFHIR{Client: r.client}
			etag := `W/"1"`
			if !versions {
				etag = ""
				n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
					x, err := r.client.Read(ctx, id)
					x.ETag = ""
					return x, err
				}
			}
			r.leave(0, "op", etag)
			w := r.writer(true, n, r.store, func(c *writethrough.Config) {
				c.SettleWindow = 500 * time.Millisecond
				c.Lease = 500 * time.Millisecond
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			u, err := w.Await(ctx, "op")
			if err != nil {
				t.Fatal(err)
			}
			if u.State == db.UpdateNotApplied {
				t.Errorf("told %s (%v), applied NO; but the server stored what it made of our PUT", u.State, u.Outcome)
			}
		})
	}
}

// 200 without ETag, the phone normalised, and no history to be had.
func TestNormalisedWithoutHistory(t *testing.T) {
	r := newRig(t, 1)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		u, err := r.client.Update(ctx, id, b, ifMatch)
		u.Resource.ETag = ""
		return u, err
	}
	n.after = func(context.Context, string, string) (fhir.Resource, error) {
		return fhir.Resource{}, &fhir.Error{Kind: fhir.Unusable, Status: 404}
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 300*time.Millisecond, time.Second })
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	var e *failure
	if !errors.As(err, &e) || e.Code != writethrough.OutcomeUnknown {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	u, err := w.Await(ctx, e.OperationID)
	if err != nil || u.State == db.UpdateNotApplied {
		t.Errorf("the server said 200 and stored it its way; told UNKNOWN, then %v %v (%v)", u.State, u.Outcome, err)
	}
}

// 200 without ETag, a new version, and telecom ignored.
func TestIgnoredWithoutETag(t *testing.T) {
	r := newRigLike(t, fhirsim.Medplum())
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Drop: []string{"telecom"}})
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		time.Sleep(3 * time.Millisecond)
		u, err := r.client.Update(ctx, id, b, ifMatch)
		u.Resource.ETag = ""
		return u, err
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	if v := len(r.server.History("f0")); v != 2 || codeOf(err) != writethrough.NotSaved {
		t.Errorf("the history has %d versions; told %s (%v)", v, codeOf(err), err)
	}
}

// A server without versions whose reads lag behind its writes: its answer to the
// PUT shows the values, the read after it does not.
func TestLaggingReadWithoutVersions(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	old, err := r.client.Read(t.Context(), "f0")
	if err != nil {
		t.Fatal(err)
	}
	old.ETag = ""
	var put time.Time
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if put.IsZero() || time.Since(put) < 300*time.Millisecond {
			return old, nil
		}
		x, err := r.client.Read(ctx, id)
		x.ETag = ""
		return x, err
	}
	n.update = func(ctx context.Context, id string, b []byte, _ string) (fhir.Update, error) {
		u, err := r.client.Update(ctx, id, b, "")
		u.Resource.ETag = ""
		put = time.Now()
		return u, err
	}
	w := r.writer(true, n, r.store, nil)
	_, err = update(t.Context(), w, setPhone("010-7777-7777"))
	time.Sleep(time.Second)
	p, _ := r.store.Patient(t.Context(), patientID(0))
	now, _ := r.client.Read(t.Context(), "f0")
	if codeOf(err) != "SUCCESS" && codeOf(err) != writethrough.OutcomeUnknown || p.SyncState == db.Synced && p.Phone != "010-7777-7777" {
		t.Errorf("told %s; the cache says %s with %s, the server has %s", codeOf(err), p.SyncState, p.Phone, now.JSON)
	}
}

// The same with versions: OK without ETag and body, and a read that lags.
func TestLaggingReadAfterSilentOK(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	old, err := r.client.Read(t.Context(), "f0")
	if err != nil {
		t.Fatal(err)
	}
	var put time.Time
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if put.IsZero() || time.Since(put) < 300*time.Millisecond {
			return old, nil
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		_, err := r.client.Update(ctx, id, b, ifMatch)
		put = time.Now()
		return fhir.Update{Resource: fhir.Resource{ID: id}, Status: http.StatusNoContent}, err
	}
	w := r.writer(true, n, r.store, nil)
	_, err = update(t.Context(), w, setPhone("010-7777-7777"))
	time.Sleep(time.Second)
	p, _ := r.store.Patient(t.Context(), patientID(0))
	if k := codeOf(err); k != "SUCCESS" && k != writethrough.OutcomeUnknown || p.SyncState == db.Synced && p.Phone != "010-7777-7777" {
		t.Errorf("told %s; cache %s %s", codeOf(err), p.SyncState, p.Phone)
	}
}

// With expectedVersion: somebody else writes the same phone and an e-mail
// between our read and our PUT, which is refused with 409.
func TestExpectedVersionAndARivalWithTheSamePhone(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"010-7777-7777","use":"mobile"},{"system":"email","value":"x@example.org"}],"gender":"female"}`)); err != nil {
			t.Error(err)
		}
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, r.store, nil)
	_, err := update(t.Context(), w, writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), ExpectedVersion: 1})
	if codeOf(err) != writethrough.Conflict {
		t.Errorf("told %s although the version was not the expected one and our PUT was refused", codeOf(err))
	}
}

// The phone that was edited has a period that ends before somebody looks.
func TestPeriodEndsMeanwhile(t *testing.T) {
	r := newRig(t, 1)
	if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"010-0000-0000","use":"mobile","period":{"end":"2026-01-31"}},{"system":"phone","value":"02-111-2222","use":"work"}],"gender":"female"}`)); err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	clock.Store(time.Date(2026, 1, 31, 23, 59, 59, 0, time.Local).UnixNano())
	n := &scriptedFHIR{Client: r.client}
	var failReads atomic.Bool
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if failReads.Load() {
			return fhir.Resource{}, errReset
		}
		return r.client.Read(ctx, id)
	}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
			t.Error(err)
		}
		failReads.Store(true)
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) {
		c.Now = func() time.Time { return time.Unix(0, clock.Load()) }
		c.Lease, c.SettleWindow = 500*time.Millisecond, 500*time.Millisecond
	})
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	var e *failure
	if !errors.As(err, &e) || e.Code != writethrough.OutcomeUnknown {
		t.Fatal(err)
	}
	clock.Add(int64(2 * time.Second)) // midnight
	failReads.Store(false)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	u, err := w.Await(ctx, e.OperationID)
	if err != nil {
		t.Fatal(err)
	}
	if u.State != db.UpdateApplied {
		t.Errorf("%s %v, but it landed: %s", u.State, u.Outcome, r.server.History("f0")[len(r.server.History("f0"))-1])
	}
}

// A server that fails to read or to write a patient quotes it, as it is and as
// it is to be: that goes nowhere.
func TestFailuresDoNotQuoteThePatient(t *testing.T) {
	const text = `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"HAPI-1821: value \"010-0000-0000\" of Kim Min, which is to be 010-7777-7777 (+82 10 7777 7777)"}]}`
	for _, method := range []string{"GET", "PUT"} {
		for _, status := range []int{200, 400, 403, 404, 410, 422, 500} {
			t.Run(fmt.Sprint(method, " ", status), func(t *testing.T) {
				r := newRig(t, 1)
				now, err := r.client.Read(t.Context(), "f0")
				if err != nil {
					t.Fatal(err)
				}
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					w.Header().Set("Content-Type", "application/fhir+json")
					if q.Method == method {
						w.WriteHeader(status)
						fmt.Fprint(w, text)
						return
					}
					w.Header().Set("ETag", now.ETag)
					_, _ = w.Write(now.JSON)
				}))
				defer s.Close()
				client, err := fhir.NewClient(fhir.Options{BaseURL: s.URL})
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				w := r.writer(false, client, r.store, func(c *writethrough.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				_, err = update(t.Context(), w, setPhone("010-7777-7777"))
				var e *failure
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
				said := strings.ReplaceAll(fmt.Sprint(log.String(), e.Reason, e.Issues), e.OperationID, "") // digits of our own
				for _, secret := range []string{"010-0000-0000", "Kim", "Min", "010-7777-7777", "7777"} {
					if strings.Contains(said, secret) {
						t.Errorf("%s in the log or the answer:\n%s", secret, said)
					}
				}
			})
		}
	}
}
