package writethrough_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"patientgraph/fhir"
	"patientgraph/writethrough"
)

func emails(values ...string) string {
	var list []string
	for n, value := range values {
		list = append(list, fmt.Sprintf(`{"system":"email","value":%q,"rank":%d}`, value, n+1))
	}
	return strings.Join(list, ",")
}

// A clearing takes out what was there when it began, whatever comes first when it is
// tried again.
func TestAClearingTakesOutOneValue(t *testing.T) {
	for name, c := range map[string]struct {
		then  func(r *rig, land func()) // between the first PUT and its answer
		busy  bool                      // which is that the server is busy; else it is carried out
		code  writethrough.Code
		wants string // what is left, in order of rank
	}{
		"busy, and it lands after the look": {func(_ *rig, land func()) { land() }, true, writethrough.Success, "e2 e3"},
		"busy, and it does not":             {func(*rig, func()) {}, true, writethrough.Success, "e2 e3"},
		"others put one before it":          {func(r *rig, _ func()) { r.put(emails("e0", "e1", "e2")) }, false, writethrough.Success, "e0 e2"},
		"others correct it":                 {func(r *rig, _ func()) { r.put(emails("e1b", "e2")) }, false, writethrough.Conflict, "e1b e2"},
		"others take it out":                {func(r *rig, _ func()) { r.put(emails("e2", "e3")) }, false, writethrough.Success, "e2 e3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			r.put(emails("e1", "e2", "e3"))
			n := &scriptedFHIR{Client: r.client}
			puts, reads := 0, 0
			var late func()
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
				if puts++; puts > 1 {
					return r.client.Update(ctx, id, b, ifMatch)
				}
				land := func() {
					if _, err := r.client.Update(context.WithoutCancel(ctx), id, b, ifMatch); err != nil {
						t.Error(err)
					}
				}
				if c.busy {
					reads, late = 0, func() { c.then(r, land) }
					return fhir.Update{}, &fhir.Error{Kind: fhir.Busy, Op: fhir.OpUpdate, Status: 409, Reason: "a lock"}
				}
				c.then(r, land)
				return r.client.Update(ctx, id, b, ifMatch)
			}
			n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
				if reads++; reads == 2 && late != nil { // the first one looked at the version that had not moved
					late()
				}
				return r.client.Read(ctx, id)
			}
			w := r.writer(true, n, r.store, nil)
			o, err := w.UpdateContact(t.Context(), writethrough.Change{
				PatientID: patientID(0), Actor: "me", IdempotencyKey: "k", Edit: fhir.ContactEdit{SetEmail: true},
			})
			if err != nil || o.Code != c.code {
				t.Errorf("told %+v, %v", o, err)
			}
			stored, _, _ := r.server.Get("f0")
			if left := strings.Trim(strings.Join(strings.Fields(strings.NewReplacer("[", "", "]", "", `"`, "", ",", " ").Replace(gjson.GetBytes(stored, "telecom.#.value").Raw)), " "), " "); left != c.wants {
				t.Errorf("%d PUTs, left are %s, want %s", puts, left, c.wants)
			}
		})
	}
}

// A server that says how long it is busy is asked again then, if there is time.
func TestBusyForAWhile(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		puts  int
	}{{time.Second, 2}, {time.Minute, 1}} {
		r := newRig(t, 1)
		n := &scriptedFHIR{Client: r.client}
		puts := 0
		n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
			if puts++; puts == 1 {
				return fhir.Update{}, &fhir.Error{Kind: fhir.Busy, Op: fhir.OpUpdate, Status: 409, Reason: "a lock", RetryAfter: c.after}
			}
			return r.client.Update(ctx, id, b, ifMatch)
		}
		o, err := r.writer(true, n, r.store, nil).UpdateContact(t.Context(), setPhone("010-7"))
		if want := map[int]writethrough.Code{2: writethrough.Success, 1: writethrough.Unavailable}[c.puts]; err != nil || o.Code != want || puts != c.puts {
			t.Errorf("busy for %v: %d PUTs, told %+v, %v", c.after, puts, o, err)
		}
	}
}
