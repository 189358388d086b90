package writethrough_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// trims is a server that normalises the phone that a PUT brings.
func trims(old, new []byte) []byte {
	return bytes.ReplaceAll(new, []byte("010-7777-7777"), []byte("+82 10 7777 7777"))
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
		r.put(`{"system":"phone","value":"02-999-9999","use":"mobile"}`)
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
			r.put(`{"system":"phone","value":"+82 10 7777 7777","use":"mobile"}`)
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

// dashes is a server that keeps the phone 01000000000, however it is spelled, as the
// one that the patient has.
func dashes(_, body []byte) []byte {
	for _, spelled := range []string{"01000000000", "010 0000 0000"} {
		body = bytes.ReplaceAll(body, []byte(spelled), []byte("010-0000-0000"))
	}
	return body
}

// Another spelling is asked, and the server brings it back into its own form: what it
// shows afterwards is what was there before. Whatever was heard, what is told is what
// the record shows.
func TestSpellingThatTheServerTakesBack(t *testing.T) {
	refusal := &fhir.Error{Kind: fhir.Rejected, Op: fhir.OpUpdate, Status: 422, Reason: "no"}
	for name, c := range map[string]struct {
		habits fhirsim.Habits
		answer error // in the place of the server's
		lost   int   // how many PUTs do not arrive
		told   writethrough.Code
		ends   db.UpdateState
	}{
		"answered":                                 {fhirsim.HAPI(), nil, 0, writethrough.Success, db.UpdateApplied},
		"answered, UUID versions":                  {fhirsim.Medplum(), nil, 0, writethrough.Success, db.UpdateApplied},
		"answered, no versions":                    {fhirsim.PlainR4(), nil, 0, writethrough.Success, db.UpdateApplied},
		"the answer lost, UUID versions":           {fhirsim.Medplum(), errReset, 0, writethrough.Success, db.UpdateApplied},
		"the answer lost, no version is made":      {fhirsim.HAPI(), errReset, 0, writethrough.OutcomeUnknown, db.UpdateNotApplied},
		"the answer lost, no versions":             {fhirsim.PlainR4(), errReset, 0, writethrough.OutcomeUnknown, db.UpdateApplied},
		"never arrived":                            {fhirsim.HAPI(), errReset, 9, writethrough.OutcomeUnknown, db.UpdateNotApplied},
		"refused":                                  {fhirsim.HAPI(), refusal, 9, writethrough.Rejected, db.UpdateRejected},
		"refused, no versions":                     {fhirsim.PlainR4(), refusal, 9, writethrough.Rejected, db.UpdateRejected},
		"the first lost on the way, UUID versions": {fhirsim.Medplum(), nil, 1, writethrough.Success, db.UpdateApplied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigLike(t, c.habits)
			r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: dashes})
			n := &scriptedFHIR{Client: r.client}
			puts := 0
			n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (u fhir.Update, err error) {
				time.Sleep(3 * time.Millisecond)
				if puts++; puts <= c.lost {
					return u, cmp.Or(c.answer, error(errReset))
				}
				if u, err = r.client.Update(ctx, id, b, ifMatch); c.answer != nil {
					return fhir.Update{}, c.answer
				}
				return u, err
			}
			w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 300*time.Millisecond, time.Second })
			o, err := w.UpdateContact(t.Context(), setPhone("01000000000"))
			if err != nil || o.Code != c.told {
				t.Fatalf("told %+v, %v", o, err)
			}
			u, err := w.Await(t.Context(), o.OperationID)
			if err != nil || u.State != c.ends {
				t.Fatalf("ended as %+v, %v", u, err)
			}
			if u.State != db.UpdateApplied {
				return
			}
			if got := u.Outcome; got.Patient.Phone != "010-0000-0000" || !slices.Equal(got.Normalized, []string{"phone"}) {
				t.Errorf("%s, normalized %v", got.Patient.Phone, got.Normalized)
			}
		})
	}
}

// With expectedVersion: the PUT landed in the server's own form, and something on the
// way answers 409, for it sent the PUT twice. What followed is ours, in another form.
func TestExpectedVersionAndOurOwnForm(t *testing.T) {
	r := newRig(t, 1)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: func(_, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte("010-7777-7777"), []byte("01077777777"))
	}})
	n := &scriptedFHIR{Client: r.client}
	n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
		if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
			t.Error(err)
		}
		return r.client.Update(ctx, id, b, ifMatch)
	}
	w := r.writer(true, n, r.store, nil)
	change := setPhone("010-7777-7777")
	change.ExpectedVersion = 1
	o, err := update(t.Context(), w, change)
	if err != nil || !slices.Equal(o.Normalized, []string{"phone"}) {
		t.Errorf("told %+v, %v", o, err)
	}
}

// What the cache shows is another spelling than what is asked, and somebody else
// writes a note between our read and our PUT: the spelling is written all the same.
func TestSpellingAndARival(t *testing.T) {
	r := newRig(t, 1)
	r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Compete: true, Times: 1})
	o, err := update(t.Context(), r.writer(true, r.client, r.store, nil), setPhone("01000000000"))
	if err != nil || o.Patient.Phone != "01000000000" || len(o.Normalized) != 0 {
		t.Errorf("told %+v, %v", o, err)
	}
}

// The region says that a national and an international form are one number.
func TestPhoneRegion(t *testing.T) {
	for region, code := range map[string]writethrough.Code{"": writethrough.NotSaved, "KR": writethrough.Success, "US": writethrough.NotSaved} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q lost %v", region, lost), func(t *testing.T) {
				r := newRig(t, 1)
				r.server.SetFault("f0", fhirsim.Fault{On: "PUT", Store: trims})
				n := &scriptedFHIR{Client: r.client}
				n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
					u, err := r.client.Update(ctx, id, b, ifMatch)
					if lost {
						return fhir.Update{}, errReset
					}
					return u, err
				}
				w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.PhoneRegion = region })
				o, err := w.UpdateContact(t.Context(), setPhone("010-7777-7777"))
				if err != nil || o.Code != code {
					t.Errorf("told %+v, %v", o, err)
				}
			})
		}
	}
}

// The reconciler knows the region too.
func TestPhoneRegionReconciled(t *testing.T) {
	for region, state := range map[string]db.UpdateState{"": db.UpdateRejected, "KR": db.UpdateApplied} {
		r := newRig(t, 1)
		r.put(`{"system":"phone","value":"+82 10 7777 7777","use":"mobile"}`)
		r.leave(0, "op", `W/"1"`)
		w := r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.Lease, c.PhoneRegion = 300*time.Millisecond, region })
		u, err := w.Await(t.Context(), "op")
		if err != nil || u.State != state {
			t.Fatalf("%q: %+v, %v", region, u, err)
		}
		if region != "" && !slices.Equal(u.Outcome.Normalized, []string{"phone"}) {
			t.Errorf("normalized %v", u.Outcome.Normalized)
		}
	}
}
