package writethrough_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// The PUT landed, its answer was lost, and the read after it said once that the
// patient is gone (a replica that had not caught up, a proxy). Then the history
// shows the version that directly followed ours, with our values, and no deletion:
// that is no patient made anew. Never REJECTED, nor an ALARM.
func TestGoneOnceThoughTheHistoryTells(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	var put, gone atomic.Bool
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
			t.Error(err)
		}
		put.Store(true)
		return fhir.Update{}, errReset
	}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if put.Load() && !gone.Swap(true) {
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Gone, Op: fhir.OpRead, Status: 404, Reason: "not found"}
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 100*time.Millisecond, 500*time.Millisecond })
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	var f *failure
	if !errors.As(err, &f) {
		t.Fatalf("told %v", err)
	}
	if st := r.settled(f.OperationID); st != db.UpdateApplied {
		u, _ := w.ContactUpdate(t.Context(), f.OperationID)
		t.Errorf("%s (%s: %s), though the version that followed has its values and no deletion is in the history", st, u.Outcome.Code, u.Outcome.Reason)
	}
}

// The PUT landed, and the server made something else of the phone; a proxy
// replaces its answer by 403 or 429. Told applied: NO, though the PUT changed the
// record; the retry writes again.
func TestDeniedButNormalised(t *testing.T) {
	for _, kind := range []fhir.Kind{fhir.AuthFailed, fhir.RateLimited} {
		t.Run(kind.String(), func(t *testing.T) {
			r := newRig(t, 1)
			r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
			n := &scriptedFHIR{Client: r.client}
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
					t.Error(err)
				}
				return fhir.Update{}, &fhir.Error{Kind: kind, Op: fhir.OpUpdate, Status: 429, Reason: "slow down"}
			}
			w := r.writer(true, n, r.store, nil)
			_, err := update(t.Context(), w, setPhone("010-7777-7777"))
			var f *failure
			if !errors.As(err, &f) {
				t.Fatalf("told %v", err)
			}
			if st := r.state(f.OperationID); st == db.UpdateNotApplied {
				now, _ := r.client.Read(t.Context(), "f0")
				t.Errorf("NOT_APPLIED (%s), but the history has only our version after it: %s", f.Code, now.JSON)
			}
		})
	}
}

// A server (or what caches for it) says 200 with what it was sent and saves
// nothing; a proxy that compresses spells the same version in another way
// (Apache's mod_deflate: -gzip; a weak ETag for a strong one). The answer itself
// says that it is the old version: meta.versionId. Never a success, nor SYNCED.
func TestEchoInAnotherSpelling(t *testing.T) {
	for _, etag := range []string{`W/"1-gzip"`, `"1"`} {
		t.Run(etag, func(t *testing.T) {
			r := newRig(t, 1)
			n := &scriptedFHIR{Client: r.client}
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				return fhir.Update{Resource: fhir.Resource{ID: id, ETag: etag, JSON: b}, Status: 200}, nil
			}
			w := r.writer(false, n, r.store, nil)
			o, err := w.UpdateContact(t.Context(), setPhone("010-7777-7777"))
			if err != nil {
				t.Fatal(err)
			}
			if o.Code == writethrough.Success {
				now, _ := r.client.Read(t.Context(), "f0")
				p, _ := r.store.Patient(t.Context(), patientID(0))
				t.Errorf("SUCCESS; the cache says %s %s, FHIR has %s", p.SyncState, p.Phone, now.JSON)
			}
		})
	}
}

// A process stands still for longer than its lease after its PUT was refused (429)
// and somebody else had written: another process takes the update over and leaves
// it UNKNOWN. The first one tells applied: NO as if that were the end, although
// the journal is open; a retry with the same key is told another end.
func TestRefusedBehindALostLease(t *testing.T) {
	r := newRig(t, 1)
	var id atomic.Value
	var told, second atomic.Bool
	n1, n2 := &scriptedFHIR{Client: r.client}, &scriptedFHIR{Client: r.client}
	s := &noticingStore{Store: r.store, begun: func(u db.ContactUpdate) { id.Store(u.ID) }}
	n1.update = func(ctx context.Context, fid string, b []byte, ifMatch string) (fhir.Update, error) {
		if err := r.server.Put([]byte(`{"resourceType":"Patient","id":"f0","telecom":[{"system":"phone","value":"02-5555-5555","use":"mobile"}],"gender":"female"}`)); err != nil {
			t.Error(err)
		}
		second.Store(true)
		return fhir.Update{}, &fhir.Error{Kind: fhir.RateLimited, Op: fhir.OpUpdate, Status: 429, Reason: "slow down"}
	}
	n1.read = func(ctx context.Context, fid string) (fhir.Resource, error) {
		for second.Load() && r.state(id.Load().(string)) != db.UpdateUnknown { // stands still
			time.Sleep(10 * time.Millisecond)
		}
		return r.client.Read(context.WithoutCancel(ctx), fid)
	}
	n2.after = func(ctx context.Context, fid, etag string) (fhir.Resource, error) {
		if !told.Load() {
			return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpHistory, Status: 500, Reason: "x"}
		}
		return r.client.After(ctx, fid, etag)
	}
	short := func(c *writethrough.Config) {
		c.Lease, c.SettleWindow, c.Timeout = 200*time.Millisecond, 20*time.Second, 10*time.Second
	}
	w1 := r.writer(false, n1, s, short) // its leases are not renewed
	r.writer(true, n2, r.store, short)
	o, err := w1.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(0), Edit: phone("010-7777-7777"), Actor: "me", IdempotencyKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	told.Store(true)
	st := r.settled(o.OperationID)
	u, _ := w1.ContactUpdate(t.Context(), o.OperationID)
	if o.Code != writethrough.OutcomeUnknown && o.Code != u.Outcome.Code {
		t.Errorf("told %s (%s), but the journal says %s %s (%s)", o.Code, o.Reason, st, u.Outcome.Code, u.Outcome.Reason)
	}
}

type noticingStore struct {
	*db.Store
	begun func(db.ContactUpdate)
}

func (s *noticingStore) BeginUpdate(ctx context.Context, u db.ContactUpdate, owner string, lease time.Duration) (*db.Begun, error) {
	s.begun(u)
	return s.Store.BeginUpdate(ctx, u, owner, lease)
}

// The answer to the PUT is a Patient in a new version that shows more than is
// taken of one record (fhir.ParsePatient refuses it, what reads the answer does
// not); the PUT landed. Then the read fails, or lags behind.
func TestShownButTooLarge(t *testing.T) {
	for _, how := range []string{"read fails", "read lags"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, 1)
			old, err := r.client.Read(t.Context(), "f0")
			if err != nil {
				t.Fatal(err)
			}
			n := &scriptedFHIR{Client: r.client}
			var put atomic.Bool
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				grow := func(_, sent []byte) []byte { // a trigger of the server adds to the name
					return bytes.Replace(sent, []byte(`"family":"Kim"`), []byte(`"family":"`+strings.Repeat("Kim ", 1<<20)+`"`), 1)
				}
				r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: grow})
				u, err := r.client.Update(ctx, id, b, ifMatch)
				if err != nil || u.Resource.JSON == nil || u.Resource.ETag == "" {
					t.Errorf("setup: %v", err)
				}
				put.Store(true)
				return u, err
			}
			n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
				switch {
				case !put.Load():
					return r.client.Read(ctx, id)
				case how == "read lags":
					return old, nil
				}
				return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Status: 500, Reason: "x"}
			}
			w := r.writer(false, n, r.store, nil)
			defer func() {
				if cause := recover(); cause != nil {
					t.Errorf("panic: %v", cause)
				}
			}()
			o, err := w.UpdateContact(t.Context(), setPhone("010-7777-7777"))
			if err != nil {
				t.Fatal(err)
			}
			if o.Code != writethrough.OutcomeUnknown {
				t.Errorf("told %s (%s), but the PUT landed with the phone", o.Code, o.Reason)
			}
		})
	}
}

// The version has not moved, but it is spelled in another way from one answer to the
// next: a lost PUT is sent again, and an OK that names the version of before saved
// nothing.
func TestVersionInAnotherSpelling(t *testing.T) {
	for spelled, c := range map[string]struct {
		lost bool
		told writethrough.Code
		puts int
	}{
		`"1"`:        {true, writethrough.Success, 2},
		`W/"1-gzip"`: {true, writethrough.Success, 2},
		`W/"1;gzip"`: {false, writethrough.NotSaved, 1},
		`"1--gzip"`:  {false, writethrough.NotSaved, 1},
	} {
		t.Run(spelled, func(t *testing.T) {
			r := newRig(t, 1)
			n := &scriptedFHIR{Client: r.client}
			puts := 0
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				switch puts++; {
				case !c.lost:
					return fhir.Update{Resource: fhir.Resource{ID: id, ETag: spelled}, Status: 204}, nil
				case puts == 1:
					return fhir.Update{}, errReset
				}
				return r.client.Update(ctx, id, b, `W/"1"`)
			}
			n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
				x, err := r.client.Read(ctx, id)
				if puts > 0 {
					x.ETag = spelled
				}
				return x, err
			}
			o, err := r.writer(false, n, r.store, nil).UpdateContact(t.Context(), setPhone("010-7777-7777"))
			if err != nil || o.Code != c.told || puts != c.puts {
				t.Errorf("told %+v, %v, after %d PUTs", o, err, puts)
			}
		})
	}
}
