package writethrough_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// A server says OK and names a new version, but its next read shows the old one
// (a replica that lags): it is asked again, and nothing is written twice.
func TestStaleReadAfterOK(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	old, err := r.client.Read(t.Context(), fhirID(0))
	if err != nil {
		t.Fatal(err)
	}
	puts, stale := 0, 0
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		puts++
		u, err := r.client.Update(ctx, id, body, ifMatch)
		if err == nil {
			stale = 1
			u.Resource.JSON = nil
		}
		return u, err
	}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		if stale--; stale == 0 {
			return old, nil
		}
		return r.client.Read(ctx, id)
	}
	w := r.writer(true, n, r.store, nil)
	if _, err := update(t.Context(), w, setPhone("010-7777-7777")); err != nil {
		t.Error(err)
	}
	r.await(db.Synced, "010-7777-7777")
	if puts != 1 {
		t.Errorf("%d PUTs", puts)
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
