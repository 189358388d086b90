package writethrough_test

import (
	"context"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// newRigOnOpenEMR is newRig on an OpenEMR, whose patient has these columns too.
func newRigOnOpenEMR(t *testing.T, version string, columns fhirsim.Columns) *rig {
	t.Helper()
	r := newRigLike(t, fhirsim.OpenEMR(version))
	for column, value := range columns {
		r.server.Clinic().Set(fhirID(0), column, value)
	}
	return r
}

// TestAClearingOnOpenEMRTakesOutWhatWasThereFirst: nothing guards a PUT there. When it
// is tried again, or its answer was lost, what somebody else has entered since stays.
func TestAClearingOnOpenEMRTakesOutWhatWasThereFirst(t *testing.T) {
	t.Parallel()
	const old, home, others = "010-0000-0000", "031-111-1111", "010-7777-7777"
	for name, c := range map[string]struct {
		edit      fhir.ContactEdit
		lost      bool            // the answer to the first PUT is lost; else it is that the server is busy
		lands     bool            // it took effect all the same
		others    fhirsim.Columns // what somebody enters then
		afterLook bool            // once the first PUT was looked for
		code      writethrough.Code
		left      fhirsim.Columns
	}{
		"busy":                                 {edit: phone(""), code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_home": home}},
		"busy, and another number":             {edit: phone(""), others: fhirsim.Columns{"phone_cell": others}, code: writethrough.Conflict, left: fhirsim.Columns{"phone_cell": others, "phone_home": home}},
		"busy, and another number later":       {edit: phone(""), others: fhirsim.Columns{"phone_cell": others}, afterLook: true, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"phone_cell": others, "phone_home": home}},
		"busy, it lands, and another number":   {edit: phone(""), lands: true, others: fhirsim.Columns{"phone_cell": others}, code: writethrough.Conflict, left: fhirsim.Columns{"phone_cell": others, "phone_home": home}},
		"busy, and another home number":        {edit: phone(""), others: fhirsim.Columns{"phone_home": others}, afterLook: true, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_home": others}},
		"busy, and the same number at work":    {edit: phone(""), others: fhirsim.Columns{"phone_biz": old}, afterLook: true, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_biz": "", "phone_home": home}},
		"busy, and others clear it":            {edit: phone(""), others: fhirsim.Columns{"phone_cell": ""}, afterLook: true, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_home": home}},
		"busy, and another email":              {edit: fhir.ContactEdit{SetEmail: true}, others: fhirsim.Columns{"email": "new@example.org"}, afterLook: true, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"email": "new@example.org"}},
		"busy, and another address":            {edit: fhir.ContactEdit{SetAddress: true}, others: fhirsim.Columns{"city": "부산"}, afterLook: true, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"city": "부산", "street": "세종대로 110"}},
		"busy, and another address in Canada":  {edit: fhir.ContactEdit{SetAddress: true}, others: fhirsim.Columns{"city": "Laval", "country_code": "CA"}, afterLook: true, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"city": "Laval", "country_code": "CA"}},
		"busy, and an email beside it":         {edit: phone(""), others: fhirsim.Columns{"email": "new@example.org"}, afterLook: true, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "email": "new@example.org"}},
		"lost":                                 {edit: phone(""), lost: true, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"phone_cell": old}},
		"lost, it lands":                       {edit: phone(""), lost: true, lands: true, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_home": home}},
		"lost, and another number":             {edit: phone(""), lost: true, others: fhirsim.Columns{"phone_cell": others}, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"phone_cell": others}},
		"lost, it lands, and another number":   {edit: phone(""), lost: true, lands: true, others: fhirsim.Columns{"phone_cell": others}, code: writethrough.OutcomeUnknown, left: fhirsim.Columns{"phone_cell": others}},
		"lost, it lands, and another one home": {edit: phone(""), lost: true, lands: true, others: fhirsim.Columns{"phone_home": others}, code: writethrough.Success, left: fhirsim.Columns{"phone_cell": "", "phone_home": others}},
	} {
		for _, version := range []string{"7.0.3", "8.1.1-dev"} {
			t.Run(name+"/"+version, func(t *testing.T) {
				t.Parallel()
				r := newRigOnOpenEMR(t, version, fhirsim.Columns{"phone_home": home, "email": "old@example.org", "street": "세종대로 110", "city": "서울"})
				n := &scriptedFHIR{Client: r.client}
				puts, reads := 0, 0
				enter := func() {
					for column, value := range c.others {
						r.server.Clinic().Set(fhirID(0), column, value)
					}
				}
				n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (fhir.Update, error) {
					if puts++; puts > 1 {
						return r.client.Update(ctx, id, b, ifMatch)
					}
					if reads = 0; c.lands {
						if _, err := r.client.Update(ctx, id, b, ifMatch); err != nil {
							t.Error(err)
						}
					}
					if !c.afterLook {
						enter()
					}
					if c.lost {
						return fhir.Update{}, errReset
					}
					return fhir.Update{}, &fhir.Error{Kind: fhir.Busy, Op: fhir.OpUpdate, Status: 409, Reason: "a lock"}
				}
				n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
					if reads++; reads == 2 && puts == 1 && c.afterLook {
						enter()
					}
					return r.client.Read(ctx, id)
				}
				w := r.writer(true, n, r.store, func(config *writethrough.Config) {
					config.Lease, config.SettleWindow = 5*time.Second, 500*time.Millisecond
					if c.code != writethrough.OutcomeUnknown { // which is told when the time is over
						config.Timeout = time.Minute
					}
				})
				o, err := w.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(0), Actor: "me", IdempotencyKey: "k", Edit: c.edit})
				if err != nil || o.Code != c.code {
					t.Errorf("told %+v, %v, want %s", o, err, c.code)
				}
				if o.Code == writethrough.OutcomeUnknown {
					if state := r.settled(o.OperationID); state == db.UpdateApplied {
						t.Errorf("in the end it is %s", state)
					}
				}
				row, _ := r.server.Clinic().Row(fhirID(0))
				for column, want := range c.left {
					if row[column] != want {
						t.Errorf("after %d PUTs %s is %q, want %q", puts, column, row[column], want)
					}
				}
				shown, err := fhir.ContactOf(must(r.client.Read(t.Context(), fhirID(0))).JSON, time.Now())
				cached, cacheErr := r.store.Patient(t.Context(), patientID(0))
				if err != nil || cacheErr != nil || cached.Phone != shown.Phone || cached.Email != shown.Email {
					t.Errorf("the cache has %+v, the server shows %+v (%v, %v)", cached, shown, err, cacheErr)
				}
			})
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
