package writethrough_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"patientgraph/db"
	"patientgraph/fhir"
	"patientgraph/fhir/fhirsim"
	"patientgraph/writethrough"
)

// TestWhatIsWrittenOnOpenEMRIsJudgedByItsOwnEntry: nothing keeps the clinic from entering
// another number between our read and our PUT. If that comes first, ours is stored all
// the same, and a failure would have the caller write over theirs. But what was ignored
// is no success because the value stands somewhere else.
func TestWhatIsWrittenOnOpenEMRIsJudgedByItsOwnEntry(t *testing.T) {
	t.Parallel()
	const asked = "555-1111"
	email := fhir.ContactEdit{SetEmail: true, Email: "new@example.org"}
	both := fhir.ContactEdit{SetPhone: true, Phone: asked, SetEmail: true, Email: "new@example.org"}
	home := fhirsim.Columns{"phone_home": "555-0001", "email": "old@example.org"}
	for name, c := range map[string]struct {
		had     fhirsim.Columns
		edit    fhir.ContactEdit
		desk    fhirsim.Columns // what the clinic enters before the PUT
		after   fhirsim.Columns // and after it
		ignored bool            // the server says OK and saves nothing
		code    writethrough.Code
		left    fhirsim.Columns
	}{
		"a mobile number is entered": {had: home, edit: phone(asked), desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": asked, "phone_cell": "555-DESK"}},
		"a mobile number is entered after it": {had: home, edit: phone(asked), after: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": asked, "phone_cell": "555-DESK"}},
		"a home number is entered, ours is at work": {had: fhirsim.Columns{"phone_biz": "555-0001"}, edit: phone(asked), desk: fhirsim.Columns{"phone_home": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_biz": asked, "phone_home": "555-DESK"}},
		"another spelling, and a mobile number": {had: home, edit: phone("5550001"), desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": "5550001", "phone_cell": "555-DESK"}},
		"a direct email is entered": {had: home, edit: email, desk: fhirsim.Columns{"email_direct": "desk@example.org"},
			code: writethrough.Success, left: fhirsim.Columns{"email": "new@example.org", "email_direct": "desk@example.org"}},
		"the first email, and a direct one": {had: fhirsim.Columns{}, edit: email, desk: fhirsim.Columns{"email_direct": "desk@example.org"},
			code: writethrough.Success, left: fhirsim.Columns{"email": "new@example.org", "email_direct": "desk@example.org"}},
		"both, beside a mobile number and a direct email": {had: home, edit: both, desk: fhirsim.Columns{"phone_cell": "555-DESK", "email_direct": "desk@example.org"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": asked, "email": "new@example.org", "phone_cell": "555-DESK", "email_direct": "desk@example.org"}},
		"the phone is as it was asked for, beside another": {had: fhirsim.Columns{"phone_home": asked}, edit: both, desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": asked, "email": "new@example.org", "phone_cell": "555-DESK"}},
		"cleared, and a mobile number": {had: home, edit: phone(""), desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": "", "phone_cell": "555-DESK"}},
		"cleared at home and at work, and a mobile number": {had: fhirsim.Columns{"phone_home": asked, "phone_biz": asked}, edit: phone(""), desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.Success, left: fhirsim.Columns{"phone_home": "", "phone_biz": "", "phone_cell": "555-DESK"}},
		"the email cleared, and a direct one": {had: home, edit: fhir.ContactEdit{SetEmail: true}, desk: fhirsim.Columns{"email_direct": "desk@example.org"},
			code: writethrough.Success, left: fhirsim.Columns{"email": "", "email_direct": "desk@example.org"}},

		"overwritten": {had: home, edit: phone(asked), after: fhirsim.Columns{"phone_home": "555-DESK"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-DESK"}},
		"overwritten, and a mobile number": {had: home, edit: phone(asked), after: fhirsim.Columns{"phone_home": "555-DESK", "phone_cell": "555-2222"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-DESK"}},
		"cleared and overwritten, and a mobile number": {had: home, edit: phone(""), after: fhirsim.Columns{"phone_home": "555-DESK", "phone_cell": "555-2222"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-DESK"}},
		"cleared, and the number is entered as the mobile one": {had: home, edit: phone(""), desk: fhirsim.Columns{"phone_cell": "555-0001"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "", "phone_cell": "555-0001"}},

		"ignored, the value stands at work": {had: fhirsim.Columns{"phone_home": "555-0001", "phone_biz": asked}, edit: phone(asked), ignored: true,
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"ignored, the value stands at work, and a mobile number": {had: fhirsim.Columns{"phone_home": "555-0001", "phone_biz": asked}, edit: phone(asked), ignored: true,
			desk: fhirsim.Columns{"phone_cell": "555-DESK"}, code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"ignored, and the clinic enters it at work": {had: home, edit: phone(asked), ignored: true, desk: fhirsim.Columns{"phone_biz": asked},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"ignored, and a mobile number": {had: home, edit: phone(asked), ignored: true, desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"another spelling ignored, and a mobile number": {had: home, edit: phone("5550001"), ignored: true, desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"the clearing ignored, and a mobile number": {had: home, edit: phone(""), ignored: true, desk: fhirsim.Columns{"phone_cell": "555-DESK"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
		"the direct email ignored, the home one is it": {had: fhirsim.Columns{"email": "new@example.org", "email_direct": "old@example.org"}, edit: email, ignored: true,
			code: writethrough.NotSaved, left: fhirsim.Columns{"email_direct": "old@example.org"}},
		"one of two ignored": {had: home, edit: both, ignored: true, desk: fhirsim.Columns{"email": "new@example.org", "phone_cell": "555-DESK"},
			code: writethrough.NotSaved, left: fhirsim.Columns{"phone_home": "555-0001"}},
	} {
		for _, way := range []string{"answered", "answer lost", "answer and read lost"} {
			t.Run(name+"/"+way, func(t *testing.T) {
				t.Parallel()
				r := newRigOnOpenEMR(t, "8.1.1-dev", fhirsim.Columns{"phone_cell": ""})
				set := func(columns fhirsim.Columns) {
					for column, value := range columns {
						r.server.Clinic().Set(fhirID(0), column, value)
					}
				}
				set(c.had)
				n := &scriptedFHIR{Client: r.client}
				puts := 0
				var blind atomic.Bool
				n.update = func(ctx context.Context, id string, b []byte, ifMatch string) (u fhir.Update, err error) {
					puts++
					set(c.desk)
					if !c.ignored {
						if u, err = r.client.Update(ctx, id, b, ifMatch); err != nil {
							return u, err
						}
					}
					set(c.after)
					if way != "answered" {
						blind.Store(way == "answer and read lost")
						return fhir.Update{}, errReset
					}
					u.Resource, err = r.client.Read(ctx, id) // it answers with what it reads then
					return u, err
				}
				n.read = func(ctx context.Context, id string) (fhir.Resource, error) {
					if blind.Load() {
						return fhir.Resource{}, &fhir.Error{Kind: fhir.Lost, Op: fhir.OpRead, Status: 500, Reason: "x"}
					}
					return r.client.Read(ctx, id)
				}
				w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.Lease, c.SettleWindow = 5*time.Second, 500*time.Millisecond })
				o, err := w.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(0), Actor: "me", IdempotencyKey: "k", Edit: c.edit})
				if err != nil {
					t.Fatal(err)
				}
				if blind.Swap(false) && o.Code != writethrough.OutcomeUnknown {
					t.Errorf("told %s before anything was seen", o.Code)
				}
				if o.Code == writethrough.OutcomeUnknown {
					u, err := w.Await(t.Context(), o.OperationID)
					if err != nil {
						t.Fatal(err)
					}
					o = u.Outcome
				}
				if o.Code == writethrough.Unavailable && way != "answered" { // all is as it was before
					o.Code = writethrough.NotSaved
				}
				if o.Code != c.code || len(o.Normalized) > 0 || puts != 1 {
					t.Errorf("told %s (%s), normalized %v, after %d PUTs, want %s", o.Code, o.Reason, o.Normalized, puts, c.code)
				}
				row, _ := r.server.Clinic().Row(fhirID(0))
				for column, want := range c.left {
					if row[column] != want {
						t.Errorf("%s is %q, want %q", column, row[column], want)
					}
				}
				shown := must(fhir.ContactOf(must(r.client.Read(t.Context(), fhirID(0))).JSON, time.Now()))
				if o.Patient != nil && (o.Patient.Phone != shown.Phone || o.Patient.Email != shown.Email) {
					t.Errorf("told with %s %s, the server shows %+v", o.Patient.Phone, o.Patient.Email, shown)
				}
			})
		}
	}
}

// TestWhatIsWrittenWithoutVersionsIsJudgedByItsOwnEntry: the same where a PUT replaces
// the record. Of an entry that the server keeps in a form of its own, that is told.
func TestWhatIsWrittenWithoutVersionsIsJudgedByItsOwnEntry(t *testing.T) {
	t.Parallel()
	const first = `{"system":"phone","use":"mobile","value":"02-1"}`
	entry := func(use, value string) string {
		return fmt.Sprintf(`{"system":"phone","use":%q,"value":%q}`, use, value)
	}
	address := func(use, city string) string { return fmt.Sprintf(`{"use":%q,"city":%q}`, use, city) }
	body := func(telecom, addresses string) []byte {
		return []byte(`{"resourceType":"Patient","id":"f0","telecom":[` + telecom + `],"address":[` + addresses + `],"gender":"female"}`)
	}
	work, bonn := address("work", "Bonn"), address("work", "Köln")
	for name, c := range map[string]struct {
		had, left  []byte // before, and after the PUT and what others have done
		edit       fhir.ContactEdit
		code       writethrough.Code
		normalized int
	}{
		"a number before ours":              {body(entry("home", "1-1"), work), body(first+","+entry("home", "2-2"), work), phone("2-2"), writethrough.Success, 0},
		"a number before ours in a form":    {body(entry("home", "1-1"), work), body(first+","+entry("home", "22"), work), phone("2-2"), writethrough.Success, 1},
		"a number before none":              {body(entry("home", "1-1"), work), body(first, work), phone(""), writethrough.Success, 0},
		"no use, a number before ours":      {body(`{"system":"phone","value":"1-1"}`, work), body(first+`,{"system":"phone","value":"2-2"}`, work), phone("2-2"), writethrough.Success, 0},
		"an address before ours":            {body(first, work), body(first, address("home", "Ulm")+","+bonn), fhir.ContactEdit{SetAddress: true, Address: &fhir.Address{City: "Köln"}}, writethrough.Success, 0},
		"an address before none":            {body(first, work), body(first, address("home", "Ulm")), fhir.ContactEdit{SetAddress: true}, writethrough.Success, 0},
		"not ours":                          {body(entry("home", "1-1"), work), body(first+","+entry("home", "3-3"), work), phone("2-2"), writethrough.OutcomeUnknown, 0},
		"ours is old by then":               {body(entry("home", "1-1"), work), body(first+","+entry("old", "2-2"), work), phone("2-2"), writethrough.OutcomeUnknown, 0},
		"one of two numbers is there":       {body(entry("home", "1-1")+","+entry("home", "2-2"), work), body(first+","+entry("home", "1-1")+","+entry("home", "2-2"), work), phone("2-2"), writethrough.OutcomeUnknown, 0},
		"cleared, and another in its use":   {body(entry("home", "1-1")+","+entry("home", "2-2"), work), body(first+","+entry("home", "2-2"), work), phone(""), writethrough.OutcomeUnknown, 0},
		"the address is another one's":      {body(first, work), body(first, address("home", "Köln")+","+work), fhir.ContactEdit{SetAddress: true, Address: &fhir.Address{City: "Ulm"}}, writethrough.OutcomeUnknown, 0},
		"the number that was to be cleared": {body(entry("home", "1-1"), work), body(first+","+entry("home", "11"), work), phone(""), writethrough.OutcomeUnknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigLike(t, fhirsim.PlainR4())
			if err := r.server.Put(c.had); err != nil {
				t.Fatal(err)
			}
			n := &scriptedFHIR{Client: r.client}
			n.update = func(context.Context, string, []byte, string) (fhir.Update, error) {
				return fhir.Update{}, errors.Join(r.server.Put(c.left), errReset)
			}
			w := r.writer(true, n, r.store, func(c *writethrough.Config) { c.SettleWindow = time.Minute })
			o, err := w.UpdateContact(t.Context(), writethrough.Change{PatientID: patientID(0), Actor: "me", IdempotencyKey: "k", Edit: c.edit})
			if err != nil || o.Code != c.code || len(o.Normalized) != c.normalized {
				t.Errorf("told %+v, %v, want %s", o, err, c.code)
			}
		})
	}
}

// TestALineWithoutEntriesIsJudgedByWhatIsShown: as an older program has left it.
func TestALineWithoutEntriesIsJudgedByWhatIsShown(t *testing.T) {
	t.Parallel()
	for columns, want := range map[[2]string]db.UpdateState{
		{"phone_cell", "010-7777-7777"}: db.UpdateApplied,
		{"phone_cell", "010-0000-0000"}: db.UpdateNotApplied,
		{"phone_home", "010-7777-7777"}: db.UpdateRejected, // beside another mobile number
	} {
		r := newRigOnOpenEMR(t, "7.0.3", fhirsim.Columns{"phone_cell": "010-9999-9999"})
		r.server.Clinic().Set(fhirID(0), columns[0], columns[1])
		r.leave(0, "op", "")
		r.writer(true, r.client, r.store, func(c *writethrough.Config) { c.SettleWindow = time.Millisecond })
		if state := r.settled("op"); state != want {
			t.Errorf("%v ended as %s, want %s", columns, state, want)
		}
	}
}
