package writethrough_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/writethrough"
)

// merge has somebody else merge the first patient into another; with this phone.
func (r *rig) merge(phone string) {
	r.t.Helper()
	body := `{"resourceType":"Patient","id":"f0","active":false,"link":[{"type":"replaced-by","other":{"reference":"Patient/f1"}}],` +
		`"telecom":[{"system":"phone","value":"` + phone + `","use":"mobile"}],"gender":"female"}`
	if err := r.server.Put([]byte(body)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantMerged(state db.SyncState, phone string) {
	r.t.Helper()
	p, err := r.store.Patient(context.Background(), patientID(0))
	if err != nil || p.ReplacedBy != "f1" || !p.Inactive || p.SyncState != state || p.Phone != phone {
		r.t.Errorf("the cache has %+v, %v", p, err)
	}
}

// The record is merged between our GET and our PUT, which is refused (412): nothing of
// it took effect, and that is what the caller hears.
func TestMergedBetweenReadAndPut(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	puts := 0
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		puts++
		r.merge("010-1")
		return r.client.Update(ctx, id, body, ifMatch)
	}
	_, err := update(t.Context(), r.writer(true, n, r.store, nil), setPhone("010-7777-7777"))
	if codeOf(err) != writethrough.PatientReplaced || puts != 1 {
		t.Errorf("told %v after %d PUTs", err, puts)
	}
	r.wantMerged(db.Synced, "010-1")
}

// The answer to a PUT that landed is lost, and the record is merged at once: the write
// took effect, and no refusal is told.
func TestLandedAndMerged(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, body []byte, ifMatch string) (fhir.Update, error) {
		if _, err := r.client.Update(ctx, id, body, ifMatch); err != nil {
			t.Error(err)
		}
		r.merge("010-7777-7777")
		return fhir.Update{}, errReset
	}
	o, err := update(t.Context(), r.writer(true, n, r.store, nil), setPhone("010-7777-7777"))
	if err != nil || o.Patient.ReplacedBy != "f1" {
		t.Errorf("told %+v, %v", o, err)
	}
	r.wantMerged(db.Synced, "010-7777-7777")
}

// Of a server whose version never changes nobody knows whether a lost PUT landed before
// the record was merged, or lands yet: that is told, and nothing is sent any more.
func TestLostAndMergedUnderTheSameVersion(t *testing.T) {
	r := newRig(t, 1)
	n := &scriptedFHIR{Client: r.client}
	n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
		now, err := r.client.Read(ctx, id)
		now.ETag = `W/"1"`
		now.JSON = []byte(strings.Replace(string(now.JSON), `"versionId":"2"`, `"versionId":"1"`, 1))
		return now, err
	}
	puts := 0
	n.update = func(context.Context, string, []byte, string) (fhir.Update, error) {
		puts++
		r.merge("010-1")
		return fhir.Update{}, errReset
	}
	w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.SettleWindow = 100 * time.Millisecond })
	_, err := update(t.Context(), w, setPhone("010-7777-7777"))
	var told *failure
	if !errors.As(err, &told) || told.Code != writethrough.OutcomeUnknown || puts != 1 {
		t.Fatalf("told %v after %d PUTs", err, puts)
	}
	if state := r.settled(told.OperationID); state == db.UpdateApplied || puts != 1 {
		t.Errorf("settled as %s after %d PUTs", state, puts)
	}
	r.wantMerged(db.Synced, "010-1")
}

// What a killed process left open is judged by what the server shows, merged or not.
func TestLeftOpenAndMerged(t *testing.T) {
	for phone, want := range map[string]db.UpdateState{"010-7777-7777": db.UpdateApplied, "010-0000-0000": db.UpdateNotApplied} {
		r := newRig(t, 1)
		now, err := r.client.Read(t.Context(), "f0")
		if err != nil {
			t.Fatal(err)
		}
		r.leave(0, "op", now.ETag)
		r.merge(phone)
		r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.SettleWindow = 100 * time.Millisecond })
		if state := r.settled("op"); state != want {
			t.Errorf("with %s it is settled as %s, want %s", phone, state, want)
		}
		r.wantMerged(db.Synced, phone)
	}
}
